// The memory of the virtual accelerator: pages with a capacity, filled with 0xFF (a NaN in fp32,
// fp16 and bf16) when fresh and when poisoned. Knows its live allocations, so that every access of
// the device can be checked. With guard pages the host cannot touch it (a touch faults) unless one
// of the device's own steps runs. Thread safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "memory/buffer.h"

namespace penstock {

class VirtualMemory {
 public:
  VirtualMemory(uint64_t capacity_bytes, bool guard_pages);
  VirtualMemory(const VirtualMemory&) = delete;
  VirtualMemory& operator=(const VirtualMemory&) = delete;

  // Whole pages, charged to `budget`. Throws Error(budget) when the budget or the capacity is too
  // small. The memory must live until the buffer is gone.
  Buffer allocate(size_t bytes, Budget& budget, const std::string& what);

  // Whether the range lies in one live allocation; whether it touches none.
  bool contains(const void* data, size_t bytes) const;
  bool avoids(const void* data, size_t bytes) const;

  static void poison(void* data, size_t bytes);

  // While one of these lives, the device's memory may be touched.
  class Step {
   public:
    explicit Step(VirtualMemory& memory);
    ~Step();
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    VirtualMemory& memory_;
  };

 private:
  std::byte* map_poisoned(size_t bytes);
  void free(std::byte* data);
  void protect_all(bool touchable);

  const uint64_t capacity_;
  const bool guard_;
  mutable std::mutex mutex_;
  uint64_t used_ = 0;
  int steps_ = 0;
  std::map<uintptr_t, size_t> live_;  // start and bytes (whole pages)
};

}  // namespace penstock
