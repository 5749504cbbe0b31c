// One block of a tier handed out in aligned pieces, front to back, never given back singly: the
// static part of a plan (resident weights, ring slots, scratch). And a pool of equal blocks with a
// free list (KV pages), each with a count of users.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "memory/buffer.h"

namespace penstock {

class Arena {
 public:
  explicit Arena(Buffer memory);
  // Throws Error(internal) when it does not fit: sizes are planned before.
  std::byte* take(size_t bytes, size_t alignment = 64);
  size_t used() const { return used_; }
  size_t bytes() const { return memory_.bytes(); }

 private:
  Buffer memory_;
  size_t used_ = 0;
};

// Equal blocks. Not thread safe: one owner.
class BlockPool {
 public:
  BlockPool() = default;
  BlockPool(Buffer memory, size_t block_bytes);
  size_t free_blocks() const { return free_.size(); }
  size_t blocks() const { return count_; }
  size_t block_bytes() const { return block_bytes_; }
  std::byte* take();  // throws Error(internal) when empty: capacity is reserved at admission
  // One more user, who gives it back too. Both throw Error(internal) for a pointer that is not a
  // taken block.
  void share(std::byte* block);
  void give_back(std::byte* block);  // free when its last user has done so

 private:
  uint32_t& users_of(std::byte* block);

  Buffer memory_;
  size_t block_bytes_ = 0, count_ = 0;
  std::vector<std::byte*> free_;
  std::vector<uint32_t> users_;
};

}  // namespace penstock
