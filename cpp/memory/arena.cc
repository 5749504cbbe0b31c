#include "memory/arena.h"

#include <bit>
#include <string>
#include <utility>

#include "base/error.h"

namespace penstock {

Arena::Arena(Buffer memory) : memory_(std::move(memory)) {}

std::byte* Arena::take(size_t bytes, size_t alignment) {
  check(std::has_single_bit(alignment), "an alignment is a power of two");
  const uintptr_t base = reinterpret_cast<uintptr_t>(memory_.data());
  const size_t begin = ((base + used_ + alignment - 1) & ~(alignment - 1)) - base;
  if (begin > memory_.bytes() || bytes > memory_.bytes() - begin) {
    throw Error(ErrorCode::internal, "an arena of " + std::to_string(memory_.bytes()) +
                                         " bytes with " + std::to_string(used_) +
                                         " used cannot give " + std::to_string(bytes) + " more");
  }
  used_ = begin + bytes;
  return memory_.data() + begin;
}

BlockPool::BlockPool(Buffer memory, size_t block_bytes)
    : memory_(std::move(memory)), block_bytes_(block_bytes) {
  check(block_bytes > 0, "a block has at least one byte");
  count_ = memory_.bytes() / block_bytes;
  users_.assign(count_, 0);
  free_.reserve(count_);
  for (size_t i = count_; i-- > 0;) free_.push_back(memory_.data() + i * block_bytes);
}

std::byte* BlockPool::take() {
  if (free_.empty()) {
    throw Error(ErrorCode::internal, "all " + std::to_string(count_) + " blocks are taken");
  }
  std::byte* block = free_.back();
  free_.pop_back();
  users_[static_cast<size_t>(block - memory_.data()) / block_bytes_] = 1;
  return block;
}

uint32_t& BlockPool::users_of(std::byte* block) {
  const uintptr_t offset =
      reinterpret_cast<uintptr_t>(block) - reinterpret_cast<uintptr_t>(memory_.data());
  const bool known =
      block && block_bytes_ > 0 && offset % block_bytes_ == 0 && offset / block_bytes_ < count_;
  check(known && users_[offset / block_bytes_] > 0, "a block given back or shared is taken");
  return users_[offset / block_bytes_];
}

void BlockPool::share(std::byte* block) { ++users_of(block); }

void BlockPool::give_back(std::byte* block) {
  if (--users_of(block) == 0) free_.push_back(block);
}

}  // namespace penstock
