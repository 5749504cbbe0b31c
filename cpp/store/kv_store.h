// The paged KV cache. A page holds page_tokens tokens of one sequence and one layer. Where a page
// lives follows from its number: the first `below_pages` pages of a sequence are on the tier below
// the one the device computes on (host memory beside an accelerator, or disk), the others where it
// computes. All or none is one case of it; any cut is exact to a page. Pages on disk lie in extents
// of the spill file; the page of each layer that is still growing (its tail) is in host memory
// until it is full. Pages in memory and on disk have counted users. Owned by the generator's
// thread; the executor's lanes only touch the bytes and the spill file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "device/device.h"
#include "memory/arena.h"
#include "plan/device_split.h"
#include "store/spill_file.h"
#include "tensor/kv_layout.h"

namespace penstock {

inline constexpr int64_t kAllPages = INT64_MAX / 2;

struct KvHome {
  Tier below = Tier::host;  // host or disk
  int64_t below_pages = 0;  // of every layer, from the first; may be more than there will be

  bool on_disk() const { return below == Tier::disk && below_pages > 0; }
  bool on_host() const { return below == Tier::host && below_pages > 0; }
  int64_t below_of(int64_t pages) const { return pages < below_pages ? pages : below_pages; }
};

// One sequence's cache.
struct KvSequence {
  KvHome home;
  int64_t length = 0;                          // tokens stored, the same for every layer
  std::vector<std::vector<std::byte*>> pages;  // [layer][page]; null: on disk
  std::vector<std::byte*> tails;               // [layer], with pages on disk
  struct Run {  // pages [first_page, first_page + pages) of layer l: units first_unit + l * stride
    int64_t first_page = 0, pages = 0;
    uint64_t first_unit = 0;
    int64_t stride = 0;
  };
  std::vector<Run> runs;  // ascending, without gaps
  uint64_t unit(int layer, int64_t page) const;
};

// The first `pages` pages of every layer of a sequence, to be used by another one too.
struct KvPrefix {
  const KvSequence* donor = nullptr;
  int64_t pages = 0;
};

// Pages of all layers together.
struct KvNeed {
  int64_t here = 0;   // memory the device computes on
  int64_t host = 0;   // host memory beside an accelerator
  int64_t units = 0;  // of the spill file
};

struct KvStoreInput {
  KvLayout layout;
  int layers = 0;
  int64_t blocks = 0;       // pages where the layers are computed, of all of them
  int64_t host_blocks = 0;  // accelerator: pages in host memory
  uint64_t disk_bytes = 0;  // spill file
  std::string folder;
  DeviceSplit split;  // pages of a layer are where it is computed
  // By device. Empty: a store that keeps books of pages without memory or file behind them;
  // `accelerator` says which kind it stands for.
  std::vector<DeviceMemory> devices;
  bool accelerator = false;
  Budget* host = nullptr;
  Budget* disk = nullptr;
};

class KvStore {
 public:
  explicit KvStore(const KvStoreInput& input);

  const KvLayout& layout() const { return layout_; }
  int layers() const { return layers_; }
  KvNeed capacity() const;
  KvNeed free() const;
  // What a sequence of `tokens` tokens holds; `units`: of one that will have so many.
  KvNeed need(const KvHome& home, int64_t tokens) const;
  int64_t pages_for(int64_t tokens) const;  // of one layer
  uint64_t unit_bytes() const { return unit_bytes_; }
  SpillFile& spill() { return spill_; }

  // A new sequence, which begins with the pages of `prefix`: both may read them, and whoever writes
  // them writes what is there already. `home` agrees with the donor's about their places. Pages on
  // disk get an extent for `max_tokens`. Returns false, changing nothing, when there is no room for
  // it (or for its tail pages).
  bool open(KvSequence& sequence, const KvHome& home, int64_t max_tokens, const KvPrefix& prefix);
  // Makes sure that pages for `tokens` tokens exist; false (and unchanged) when a pool is too
  // empty.
  bool grow(KvSequence& sequence, int64_t tokens);
  // Gives everything back; the sequence is empty afterwards.
  void close(KvSequence& sequence);

 private:
  int64_t free_here() const;
  bool accelerator() const { return accelerator_; }
  BlockPool& pool_below() { return accelerator_ ? host_ : here_.front(); }
  const BlockPool& pool_below() const { return accelerator_ ? host_ : here_.front(); }
  BlockPool& pool_of(const KvHome& home, int layer, int64_t page) {
    return page < home.below_pages ? host_ : here_[split_.of_layer(layer)];
  }
  bool take_extent(KvSequence& sequence, int64_t first_page, int64_t pages);
  void share(const KvPrefix& prefix, KvSequence& sequence);
  void give_back_runs(const KvSequence& sequence);
  void free_units(uint64_t begin, uint64_t end);

  KvLayout layout_;
  int layers_;
  bool accelerator_;
  DeviceSplit split_;
  std::vector<BlockPool> here_;  // by device
  BlockPool host_;
  uint64_t unit_bytes_;
  SpillFile spill_;
  struct Extent {
    uint64_t begin, end;
  };
  std::vector<Extent> free_extents_;  // ascending, never touching
  std::vector<uint32_t> unit_users_;
};

}  // namespace penstock
