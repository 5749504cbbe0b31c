#include "store/kv_store.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"

namespace penstock {

namespace {

// Addresses that nothing lies behind, for a store that only keeps books.
Buffer imagined(size_t bytes) {
  return Buffer(reinterpret_cast<std::byte*>(kIoAlignment), bytes, {}, [](std::byte*, size_t) {});
}

// Each device has as many pages of a layer as the others; what is left over is the first one's.
std::vector<BlockPool> make_pools(const KvStoreInput& input) {
  std::vector<int64_t> layers(input.split.devices(), 0);
  for (int layer = 0; layer < input.layers; ++layer) ++layers[input.split.of_layer(layer)];
  std::vector<BlockPool> pools(layers.size());
  if (input.blocks == 0) return pools;
  const size_t block = input.layout.page_bytes();
  const int64_t pages = input.blocks / input.layers;
  for (size_t device = 0; device < pools.size(); ++device) {
    const int64_t rest = device == 0 ? input.blocks % input.layers : 0;
    const size_t bytes = (pages * layers[device] + rest) * block;
    const bool imaginary = input.devices.empty();
    pools[device] = {imaginary ? imagined(bytes) : input.devices.at(device).allocate(bytes, "kv"),
                     block};
  }
  return pools;
}

BlockPool make_host_pool(const KvStoreInput& input) {
  if (input.host_blocks == 0) return {};
  const size_t block = input.layout.page_bytes(), bytes = input.host_blocks * block;
  if (input.devices.empty()) return {imagined(bytes), block};
  return {input.devices.front().device->allocate(bytes, *input.host, "kv"), block};
}

}  // namespace

uint64_t KvSequence::unit(int layer, int64_t page) const {
  for (const Run& run : runs) {
    if (page < run.first_page + run.pages) {
      return run.first_unit + layer * run.stride + (page - run.first_page);
    }
  }
  check(false, "a page on disk has its unit");
  return 0;
}

KvStore::KvStore(const KvStoreInput& input)
    : layout_(input.layout),
      layers_(input.layers),
      accelerator_(input.devices.empty()
                       ? input.accelerator
                       : input.devices.front().device->info().memory == Tier::device),
      split_(input.split),
      here_(make_pools(input)),
      host_(make_host_pool(input)),
      unit_bytes_(round_up(input.layout.page_bytes(), kIoAlignment)) {
  check(accelerator_ || input.host_blocks == 0, "host pages stand beside an accelerator");
  const uint64_t units = input.disk_bytes / unit_bytes_;
  if (units == 0) return;
  if (!input.devices.empty()) {
    spill_ = SpillFile(input.folder, {unit_bytes_, units}, *input.disk, "kv");
  }
  free_extents_.push_back({0, units});
  unit_users_.assign(units, 0);
}

KvNeed KvStore::capacity() const {
  KvNeed all{0, static_cast<int64_t>(host_.blocks()), static_cast<int64_t>(unit_users_.size())};
  for (const BlockPool& pool : here_) all.here += static_cast<int64_t>(pool.blocks());
  return all;
}

KvNeed KvStore::free() const {
  KvNeed free{free_here(), static_cast<int64_t>(host_.free_blocks()), 0};
  for (const Extent& extent : free_extents_) {
    free.units += static_cast<int64_t>(extent.end - extent.begin);
  }
  return free;
}

int64_t KvStore::free_here() const {
  int64_t blocks = 0;
  for (const BlockPool& pool : here_) blocks += static_cast<int64_t>(pool.free_blocks());
  return blocks;
}

int64_t KvStore::pages_for(int64_t tokens) const { return ceil_div(tokens, layout_.page_tokens); }

KvNeed KvStore::need(const KvHome& home, int64_t tokens) const {
  const int64_t pages = pages_for(tokens), below = home.below_of(pages);
  KvNeed need;
  need.here = layers_ * (pages - below);
  if (!home.on_disk()) {
    need.host = layers_ * below;
    return need;
  }
  need.units = layers_ * below;
  (accelerator_ ? need.host : need.here) += layers_;  // tails
  return need;
}

bool KvStore::open(KvSequence& sequence, const KvHome& home, int64_t max_tokens,
                   const KvPrefix& prefix) {
  check(accelerator_ || !home.on_host(), "there is no memory below the host's but the disk");
  sequence = {};
  sequence.home = home;
  sequence.pages.resize(layers_);
  if (home.on_disk()) {
    const int64_t below = home.below_of(pages_for(max_tokens));
    const int64_t shared = home.below_of(prefix.pages);
    const bool room = static_cast<int64_t>(pool_below().free_blocks()) >= layers_;
    if (!room || !take_extent(sequence, shared, below - shared)) {
      sequence = {};
      return false;
    }
    for (int layer = 0; layer < layers_; ++layer) sequence.tails.push_back(pool_below().take());
  }
  if (prefix.pages > 0) share(prefix, sequence);
  return true;
}

bool KvStore::grow(KvSequence& sequence, int64_t tokens) {
  const KvHome& home = sequence.home;
  const int64_t pages = pages_for(tokens), have = sequence.pages.front().size();
  if (pages <= have) return true;
  const int64_t below = home.below_of(pages) - home.below_of(have);
  if (home.on_disk() && below > 0) {
    check(home.below_of(pages) <= sequence.runs.back().first_page + sequence.runs.back().pages,
          "a sequence on disk has its extent");
  }
  // Every layer takes as many: where there is room for all there is room on each device.
  if (free_here() < (pages - have - below) * layers_) return false;
  if (home.on_host() && static_cast<int64_t>(host_.free_blocks()) < below * layers_) return false;
  for (int l = 0; l < layers_; ++l) {
    std::vector<std::byte*>& layer = sequence.pages.at(l);
    while (static_cast<int64_t>(layer.size()) < pages) {
      const auto page = static_cast<int64_t>(layer.size());
      const bool on_disk = home.on_disk() && page < home.below_pages;
      layer.push_back(on_disk ? nullptr : pool_of(home, l, page).take());
    }
  }
  return true;
}

void KvStore::share(const KvPrefix& prefix, KvSequence& sequence) {
  const KvSequence& donor = *prefix.donor;
  const int64_t below = donor.home.below_of(prefix.pages);
  check(below == sequence.home.below_of(prefix.pages) &&
            (below == 0 || donor.home.below == sequence.home.below),
        "shared pages are where their first user has them");
  for (int layer = 0; layer < layers_; ++layer) {
    const auto& from = donor.pages.at(layer);
    auto& to = sequence.pages.at(layer);
    check(to.empty() && prefix.pages <= static_cast<int64_t>(from.size()),
          "shared pages come first");
    for (int64_t page = 0; page < prefix.pages; ++page) {
      if (from[page] != nullptr) pool_of(donor.home, layer, page).share(from[page]);
      to.push_back(from[page]);
    }
  }
  if (!donor.home.on_disk()) return;
  std::vector<KvSequence::Run> runs;
  for (KvSequence::Run run : donor.runs) {
    run.pages = std::min(run.pages, below - run.first_page);
    if (run.pages <= 0) break;
    runs.push_back(run);
    for (int layer = 0; layer < layers_; ++layer) {
      for (int64_t i = 0; i < run.pages; ++i)
        ++unit_users_[run.first_unit + layer * run.stride + i];
    }
  }
  sequence.runs.insert(sequence.runs.begin(), runs.begin(), runs.end());
}

void KvStore::close(KvSequence& sequence) {
  for (size_t l = 0; l < sequence.pages.size(); ++l) {
    const std::vector<std::byte*>& layer = sequence.pages[l];
    for (size_t page = 0; page < layer.size(); ++page) {
      if (layer[page] == nullptr) continue;
      pool_of(sequence.home, static_cast<int>(l), static_cast<int64_t>(page))
          .give_back(layer[page]);
    }
  }
  for (std::byte* tail : sequence.tails) pool_below().give_back(tail);
  give_back_runs(sequence);
  sequence = {};
}

bool KvStore::take_extent(KvSequence& sequence, int64_t first_page, int64_t pages) {
  if (pages <= 0) return true;
  const uint64_t units = pages * layers_;
  for (Extent& extent : free_extents_) {
    if (extent.end - extent.begin < units) continue;
    sequence.runs.push_back({first_page, pages, extent.begin, pages});
    std::fill_n(unit_users_.begin() + static_cast<int64_t>(extent.begin), units, 1);
    extent.begin += units;
    return true;
  }
  return false;
}

void KvStore::give_back_runs(const KvSequence& sequence) {
  for (const KvSequence::Run& run : sequence.runs) {
    for (int layer = 0; layer < layers_; ++layer) {
      const uint64_t begin = run.first_unit + layer * run.stride;
      uint64_t freed = begin;  // units [freed, unit) have lost their last user
      for (uint64_t unit = begin; unit < begin + run.pages; ++unit) {
        if (--unit_users_[unit] == 0) {
          if (spill_.units() > 0) spill_.forget(unit);
          continue;
        }
        free_units(freed, unit);
        freed = unit + 1;
      }
      free_units(freed, begin + run.pages);
    }
  }
}

void KvStore::free_units(uint64_t begin, uint64_t end) {
  if (begin == end) return;
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
