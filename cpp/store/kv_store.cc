#include "store/kv_store.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"

namespace penstock {

namespace {

BlockPool make_pool(const KvStoreInput& input) {
  if (input.blocks == 0) return {};
  const size_t block_bytes = input.layout.page_bytes();
  return {input.device->allocate(input.blocks * block_bytes, *input.memory, "kv"), block_bytes};
}

}  // namespace

KvStore::KvStore(const KvStoreInput& input)
    : layout_(input.layout),
      layers_(input.layers),
      pool_(make_pool(input)),
      unit_bytes_(round_up(input.layout.page_bytes(), kIoAlignment)) {
  const uint64_t units = input.disk_bytes / unit_bytes_;
  if (units == 0) return;
  spill_ = SpillFile(input.folder, {unit_bytes_, units}, *input.disk, "kv");
  free_extents_.push_back({0, units});
}

int64_t KvStore::blocks_for(int64_t tokens, bool on_disk) const {
  return on_disk ? layers_ : layers_ * ceil_div(tokens, layout_.page_tokens);
}

bool KvStore::open(KvSequence& sequence, bool on_disk, int64_t max_tokens) {
  sequence = {};
  sequence.on_disk = on_disk;
  sequence.pages.resize(layers_);
  if (!on_disk) return true;
  if (free_blocks() < layers_ || !take_extent(sequence, max_tokens)) return false;
  for (auto& pages : sequence.pages) pages.push_back(pool_.take());
  return true;
}

bool KvStore::grow(KvSequence& sequence, int64_t tokens) {
  if (sequence.on_disk) {
    check(tokens <= sequence.disk_pages * layout_.page_tokens, "a disk sequence has its extent");
    return true;
  }
  const int64_t pages = ceil_div(tokens, layout_.page_tokens);
  const int64_t have = sequence.pages.front().size();
  if (pages <= have) return true;
  if (free_blocks() < (pages - have) * layers_) return false;
  for (auto& layer : sequence.pages) {
    while (static_cast<int64_t>(layer.size()) < pages) layer.push_back(pool_.take());
  }
  return true;
}

void KvStore::share(const KvSequence& donor, int64_t pages, KvSequence& sequence) {
  check(!donor.on_disk && !sequence.on_disk, "pages on disk have one user");
  for (int layer = 0; layer < layers_; ++layer) {
    const auto& from = donor.pages.at(layer);
    auto& to = sequence.pages.at(layer);
    check(to.empty() && pages <= static_cast<int64_t>(from.size()), "shared pages come first");
    for (int64_t page = 0; page < pages; ++page) {
      pool_.share(from[page]);
      to.push_back(from[page]);
    }
  }
}

void KvStore::close(KvSequence& sequence) {
  for (auto& layer : sequence.pages) {
    for (std::byte* page : layer) pool_.give_back(page);
  }
  if (sequence.on_disk) give_back_extent(sequence);
  sequence = {};
}

bool KvStore::take_extent(KvSequence& sequence, int64_t max_tokens) {
  sequence.disk_pages = ceil_div(max_tokens, layout_.page_tokens);
  const uint64_t units = sequence.disk_pages * layers_;
  for (Extent& extent : free_extents_) {
    if (extent.end - extent.begin < units) continue;
    sequence.first_unit = extent.begin;
    extent.begin += units;
    return true;
  }
  return false;
}

void KvStore::give_back_extent(const KvSequence& sequence) {
  const uint64_t begin = sequence.first_unit;
  const uint64_t end = begin + sequence.disk_pages * layers_;
  for (uint64_t unit = begin; unit < end; ++unit) spill_.forget(unit);
  const auto after = std::find_if(free_extents_.begin(), free_extents_.end(),
                                  [&](const Extent& e) { return e.begin >= end; });
  free_extents_.insert(after, {begin, end});
  std::vector<Extent> joined;
  for (const Extent& extent : free_extents_) {
    if (extent.begin == extent.end) continue;
    if (!joined.empty() && joined.back().end == extent.begin) {
      joined.back().end = extent.end;
    } else {
      joined.push_back(extent);
    }
  }
  free_extents_ = std::move(joined);
}

}  // namespace penstock
