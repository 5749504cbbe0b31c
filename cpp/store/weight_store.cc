#include "store/weight_store.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"

namespace penstock {

bool WeightStore::quantised(int weight) const {
  return penstock::format(plan_.formats.at(weight)).quantised();
}

int64_t WeightStore::row_bytes(int weight) const {
  const WeightInfo& info = list_.at(weight);
  return info.cols * dtype_bytes(source_.dtype(info));
}

// Bytes from the row `first_row` (a tile's first for packed weights) to `row`.
int64_t WeightStore::bytes_before(int weight, int64_t first_row, int64_t row) const {
  if (!quantised(weight)) return (row - first_row) * row_bytes(weight);
  const PackedLayout layout =
      packed_layout(penstock::format(format(weight)), list_.at(weight).cols);
  return ceil_div(row - first_row, kTileRows) * layout.tile_bytes;
}

const float* WeightStore::vector(int id) const { return id < 0 ? nullptr : vector_of_.at(id); }

const WeightStore::Resident* WeightStore::find_resident(int weight, Tier tier, int64_t row) const {
  const Resident& resident = resident_of_[static_cast<int>(tier)].at(owner_of_.at(weight));
  const bool inside = resident.data && row >= resident.begin && row < resident.end;
  return inside ? &resident : nullptr;
}

WeightPanel WeightStore::resident(const Panel& panel) const {
  const Resident* found = find_resident(panel.weight, compute_, panel.row_begin);
  check(found && panel.row_end <= found->end, "a resident panel is resident");
  return {found->data + bytes_before(panel.weight, found->begin, panel.row_begin), panel.row_begin,
          panel.row_end};
}

WeightStore::Located WeightStore::locate(const Panel& panel) const {
  const WeightInfo& info = list_.at(panel.weight);
  if (quantised(panel.weight)) {
    check(packed_ != nullptr, "streamed packed weights have a cache file");
    const PackedTensor& tensor = packed_->find(info.name);
    for (const PackedBlock& block : tensor.blocks) {
      if (panel.row_begin < block.row_begin || panel.row_begin >= block.row_end) continue;
      check(panel.row_end <= block.row_end, "a packed panel stays in one block");
      const uint64_t skip = bytes_before(panel.weight, block.row_begin, panel.row_begin);
      return {&packed_->file(), block.offset, block.bytes, skip};
    }
    check(false, "a packed panel has a block");
  }
  const TensorLocation* location = source_.location(info);
  if (location == nullptr) {
    throw Error(ErrorCode::unsupported,
                "random weights exist only in memory, and do not fit the budget. Write them to a "
                "folder first: penstock bench --materialise DIR",
                {.field = "host_memory"});
  }
  const uint64_t begin = panel.row_begin * row_bytes(panel.weight);
  const uint64_t end = panel.row_end * row_bytes(panel.weight);
  return {location->file, location->offset + begin, end - begin, 0};
}

// Where the panel's first byte lies in its slot, once read: file alignment is kept, except that
// elements are moved to an address they can be read from.
uint64_t WeightStore::data_offset(const Panel& panel) const {
  const Located located = locate(panel);
  const uint64_t offset = located.offset % kIoAlignment;
  return round_down(offset, 4) + located.skip;
}

Transfer WeightStore::read_transfer(const Panel& panel, std::byte* slot) const {
  const Located located = locate(panel);
  const uint64_t begin = round_down(located.offset, kIoAlignment);
  const uint64_t end = round_up(located.offset + located.bytes, kIoAlignment);
  Transfer transfer;
  transfer.file = located.file;
  transfer.data = slot;
  transfer.offset = begin;
  transfer.bytes = end - begin;
  transfer.needed = located.offset + located.bytes - begin;
  return transfer;
}

void WeightStore::finish_read(const Panel& panel, std::byte* slot) const {
  const Located located = locate(panel);
  if (quantised(panel.weight)) {
    const PackedTensor& tensor = packed_->find(list_.at(panel.weight).name);
    for (const PackedBlock& block : tensor.blocks) {
      if (block.offset == located.offset) verify_block(*packed_, tensor, block, slot);
    }
    return;
  }
  const uint64_t offset = located.offset % kIoAlignment;
  const uint64_t aligned = round_down(offset, 4);
  if (aligned != offset) std::memmove(slot + aligned, slot + offset, located.bytes);
}

WeightPanel WeightStore::staged(const Panel& panel, const std::byte* slot) const {
  return {slot + data_offset(panel), panel.row_begin, panel.row_end};
}

CopyParams WeightStore::upload(const Panel& panel, const std::byte* host_slot,
                               std::byte* device_slot) const {
  CopyParams copy;
  copy.direction = CopyDirection::h2d;
  copy.destination = device_slot;
  copy.bytes = bytes_before(panel.weight, panel.row_begin, panel.row_end);
  if (panel.home == Tier::host) {
    const Resident* found = find_resident(panel.weight, Tier::host, panel.row_begin);
    check(found != nullptr, "a host panel is resident");
    copy.source = found->data + bytes_before(panel.weight, found->begin, panel.row_begin);
  } else {
    copy.source = host_slot + data_offset(panel);
  }
  return copy;
}

WeightPanel WeightStore::uploaded(const Panel& panel, const std::byte* device_slot) const {
  return {device_slot, panel.row_begin, panel.row_end};
}

void WeightStore::gather(int table, std::span<const int32_t> ids, std::byte* out,
                         std::vector<Transfer>& transfers) const {
  const int64_t bytes = row_bytes(table);
  const TensorLocation* location = source_.location(list_.at(table));
  const Resident* whole = find_resident(table, Tier::host, 0);
  if (whole != nullptr && whole->end < list_.at(table).rows) whole = nullptr;
  for (size_t i = 0; i < ids.size(); ++i) {
    std::byte* destination = out + i * bytes;
    if (whole != nullptr) {
      std::memcpy(destination, whole->data + ids[i] * bytes, bytes);
    } else if (location == nullptr) {
      source_.read_raw(list_.at(table), ids[i], ids[i] + 1, destination);
    } else {
      Transfer transfer;
      transfer.file = location->file;
      transfer.data = destination;
      transfer.bytes = bytes;
      transfer.offset = location->offset + ids[i] * bytes;
      transfer.unaligned = true;
      transfers.push_back(transfer);
    }
  }
}

}  // namespace penstock
