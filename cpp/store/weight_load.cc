// Loading of the resident share: the part of WeightStore that runs once, when it is made.
#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "store/weight_store.h"
#include "tensor/quantize.h"
#include "tensor/units.h"

namespace penstock {

namespace {

constexpr int64_t kLoadBytes = int64_t{4}
                               << 20;  // host memory used while an accelerator's share is loaded

}  // namespace

WeightStore::WeightStore(const WeightStoreInput& input)
    : list_(*input.list),
      plan_(*input.plan),
      source_(*input.source),
      packed_(input.packed),
      split_(input.split),
      devices_(input.devices),
      host_(*input.host),
      compute_(input.devices.front().device->info().memory) {
  for (const WeightInfo& info : list_.all()) {
    const int alias = plan_.alias.at(info.id);
    owner_of_.push_back(alias < 0 ? info.id : alias);
  }
  load_vectors();
  for (auto& residents : resident_of_) residents.resize(list_.all().size());
  for (int device = 0; device < split_.devices(); ++device) {
    allocate_resident({Tier::device, device});
  }
  allocate_resident({Tier::host, 0});
  ThreadPool pool(input.threads);
  const Parallel makers = pool.parallel();
  makers_ = &makers;
  for (const WeightInfo& info : list_.all()) {
    if (info.kind != WeightKind::vector && owner_of_[info.id] == info.id) load_weight(info.id);
  }
  makers_ = nullptr;
}

void WeightStore::load_vectors() {
  vector_of_.assign(list_.all().size(), nullptr);
  for (int device = 0; device < split_.devices(); ++device) load_vectors_of(device);
}

bool WeightStore::belongs(const WeightInfo& info, int device) const {
  return info.kind == WeightKind::vector && split_.of_weight(info) == device;
}

void WeightStore::load_vectors_of(int device) {
  const DeviceMemory& memory = devices_.at(device);
  int64_t bytes = 0, longest = 0;
  for (const WeightInfo& info : list_.all()) {
    if (!belongs(info, device)) continue;
    bytes += round_up(info.cols * 4, kLineBytes);
    longest = std::max(longest, info.cols);
  }
  const bool on_device = compute_ == Tier::device;
  memory_.push_back(memory.allocate(std::max<int64_t>(bytes, kLineBytes), "vectors"));
  std::vector<float> row(on_device ? longest : 0);
  std::byte* next = memory_.back().data();
  for (const WeightInfo& info : list_.all()) {
    if (!belongs(info, device)) continue;
    float* target = reinterpret_cast<float*>(next);
    source_.read_floats(info, 0, 1, on_device ? row.data() : target);
    if (on_device) {
      const auto count = static_cast<size_t>(info.cols * 4);
      memory.device->wait(memory.device->copy({target, row.data(), count, CopyDirection::h2d}, {}));
    }
    vector_of_[info.id] = target;
    next += round_up(info.cols * 4, kLineBytes);
  }
}

void WeightStore::allocate_resident(Place place) {
  std::vector<Resident>& residents = resident_of_[static_cast<int>(place.tier)];
  std::vector<int64_t> offsets(residents.size(), -1);
  int64_t bytes = 0;
  for (const WeightInfo& info : list_.all()) {
    if (owner_of_[info.id] != info.id || info.kind == WeightKind::vector) continue;
    for (const Segment& segment : plan_.placements.at(info.id).segments) {
      if (segment.place != place || segment.begin == segment.end) continue;
      residents[info.id] = {segment.begin, segment.end, nullptr};
      offsets[info.id] = bytes;
      bytes += round_up(bytes_before(info.id, segment.begin, segment.end), kLineBytes);
    }
  }
  if (bytes == 0) return;
  memory_.push_back(place.tier == Tier::device
                        ? devices_.at(place.ordinal).allocate(bytes, "weights")
                        : devices_.front().device->allocate(bytes, host_, "weights"));
  for (size_t i = 0; i < residents.size(); ++i) {
    if (offsets[i] >= 0) residents[i].data = memory_.back().data() + offsets[i];
  }
}

void WeightStore::load_weight(int weight) {
  for (const Tier tier : {Tier::device, Tier::host}) {
    const Resident& resident = resident_of_[static_cast<int>(tier)].at(weight);
    if (resident.data) load_segment(weight, resident, tier);
  }
}

void WeightStore::load_segment(int weight, const Resident& resident, Tier tier) {
  const int64_t unit = quantised(weight) ? kTileRows : 1;
  const int64_t unit_bytes = std::max<int64_t>(1, bytes_before(weight, 0, unit));
  const bool made = source_.location(list_.at(weight)) == nullptr && tier != Tier::device;
  const int64_t step = made ? round_up(std::max<int64_t>(1, resident.end - resident.begin), unit)
                            : unit * std::max<int64_t>(1, kLoadBytes / unit_bytes);
  Buffer bounce;
  if (tier == Tier::device) {
    const int64_t rows = std::min(step, resident.end - resident.begin);
    const size_t bytes = bytes_before(weight, 0, round_up(rows, unit));
    bounce = devices_.front().device->allocate(bytes, host_, "loading");
  }
  for (int64_t row = resident.begin; row < resident.end; row += step) {
    const int64_t stop = std::min(resident.end, row + step);
    std::byte* target = resident.data + bytes_before(weight, resident.begin, row);
    fill_rows(weight, row, stop, bounce.data() ? bounce.data() : target);
    if (!bounce.data()) continue;
    const size_t bytes = bytes_before(weight, row, stop);
    Device& device = *devices_.at(split_.of_weight(list_.at(weight))).device;
    device.wait(device.copy({target, bounce.data(), bytes, CopyDirection::h2d}, {}));
  }
}

// Rows [begin, end) as the plan's format stores them; packed rows begin at a tile.
void WeightStore::fill_rows(int weight, int64_t begin, int64_t end, std::byte* out) const {
  if (source_.location(list_.at(weight)) == nullptr) {
    constexpr int64_t kPieceRows = 4 * kTileRows;
    makers_->for_each((end - begin + kPieceRows - 1) / kPieceRows, [&](int64_t piece, int) {
      const int64_t first = begin + piece * kPieceRows;
      make_rows(weight, first, std::min(end, first + kPieceRows),
                out + bytes_before(weight, begin, first));
    });
  } else if (quantised(weight) && packed_ != nullptr) {
    fill_packed(weight, begin, end, out);
  } else {
    make_rows(weight, begin, end, out);
  }
}

void WeightStore::make_rows(int weight, int64_t begin, int64_t end, std::byte* out) const {
  if (!quantised(weight)) {
    source_.read_raw(list_.at(weight), begin, end, out);
  } else {
    const WeightInfo& info = list_.at(weight);
    const QuantFormat& row_format = penstock::format(format(weight));
    const int64_t tile_bytes = packed_layout(row_format, info.cols).tile_bytes;
    std::vector<float> rows(kTileRows * info.cols);
    for (int64_t row = begin; row < end; row += kTileRows, out += tile_bytes) {
      const int64_t count = std::min<int64_t>(kTileRows, end - row);
      source_.read_floats(info, row, row + count, rows.data());
      pack_tile(row_format, {rows.data(), count, info.cols}, info.cols, out);
    }
  }
}

void WeightStore::fill_packed(int weight, int64_t begin, int64_t end, std::byte* out) const {
  const PackedTensor& tensor = packed_->find(list_.at(weight).name);
  Buffer block_memory;
  for (const PackedBlock& block : tensor.blocks) {
    const int64_t first = std::max(begin, block.row_begin), last = std::min(end, block.row_end);
    if (first >= last) continue;
    const size_t bytes = round_up(block.bytes, kIoAlignment);
    if (block_memory.bytes() < bytes) block_memory = allocate_host(bytes, host_, "loading");
    packed_->file().read(block_memory.data(), bytes, block.offset);
    verify_block(*packed_, tensor, block, block_memory.data());
    std::memcpy(out + bytes_before(weight, begin, first),
                block_memory.data() + bytes_before(weight, block.row_begin, first),
                bytes_before(weight, first, last));
  }
}

}  // namespace penstock
