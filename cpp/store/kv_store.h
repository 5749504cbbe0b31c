// The paged KV cache. A page holds page_tokens tokens of one sequence and one layer. A sequence
// lives in memory (its pages come from one pool) or on disk: then its full pages lie in one extent
// per layer of the spill file, and only the tail page of each layer stays in memory. Owned by the
// generator's thread; the executor's lanes only touch the bytes and the spill file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "device/device.h"
#include "memory/arena.h"
#include "store/spill_file.h"
#include "tensor/kv_layout.h"

namespace penstock {

// One sequence's cache. For disk sequences `pages[layer]` has exactly one page, the tail.
struct KvSequence {
  bool on_disk = false;
  int64_t length = 0;                          // tokens stored, the same for every layer
  std::vector<std::vector<std::byte*>> pages;  // [layer][page]
  uint64_t first_unit = 0;                     // disk: extent of layers * disk_pages units
  int64_t disk_pages = 0;                      // disk: units per layer
  uint64_t unit(int layer, int64_t page) const { return first_unit + layer * disk_pages + page; }
};

struct KvStoreInput {
  KvLayout layout;
  int layers = 0;
  int64_t blocks = 0;       // pages in memory
  uint64_t disk_bytes = 0;  // spill file
  std::string folder;
  Device* device = nullptr;
  Budget* memory = nullptr;  // of the tier the device computes on
  Budget* disk = nullptr;
};

class KvStore {
 public:
  explicit KvStore(const KvStoreInput& input);

  const KvLayout& layout() const { return layout_; }
  int layers() const { return layers_; }
  int64_t blocks() const { return pool_.blocks(); }
  int64_t free_blocks() const { return pool_.free_blocks(); }
  // Pages in memory for a sequence of `tokens` tokens; disk sequences hold one tail page per layer.
  int64_t blocks_for(int64_t tokens, bool on_disk) const;
  uint64_t unit_bytes() const { return unit_bytes_; }
  SpillFile& spill() { return spill_; }

  // A new sequence. Disk sequences get an extent for `max_tokens`: returns false when there is no
  // room for it (or no tail pages).
  bool open(KvSequence& sequence, bool on_disk, int64_t max_tokens);
  // Makes sure that pages for `tokens` tokens exist; false (and unchanged) when the pool is too
  // empty.
  bool grow(KvSequence& sequence, int64_t tokens);
  // The first `pages` pages of every layer of `donor` become those of `sequence`, which must be
  // open, in memory and empty. Both may read them, and whoever writes them writes what is there
  // already.
  void share(const KvSequence& donor, int64_t pages, KvSequence& sequence);
  // Gives everything back; the sequence is empty afterwards.
  void close(KvSequence& sequence);

 private:
  bool take_extent(KvSequence& sequence, int64_t max_tokens);
  void give_back_extent(const KvSequence& sequence);

  KvLayout layout_;
  int layers_;
  BlockPool pool_;
  uint64_t unit_bytes_;
  SpillFile spill_;
  struct Extent {
    uint64_t begin, end;
  };
  std::vector<Extent> free_extents_;  // ascending, never touching
};

}  // namespace penstock
