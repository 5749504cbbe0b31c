#include "device/virtual/virtual_memory.h"

#include <cstring>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "memory/host_pages.h"

namespace penstock {
namespace {

uintptr_t address(const void* data) { return reinterpret_cast<uintptr_t>(data); }

[[noreturn]] void refuse(const std::string& what, size_t bytes, uint64_t used, uint64_t capacity) {
  throw Error(ErrorCode::budget,
              "does not fit into the virtual accelerator: asked " + std::to_string(bytes) +
                  " bytes, used " + std::to_string(used) + ", capacity " + std::to_string(capacity),
              {.file = {},
               .field = what,
               .found = std::to_string(bytes) + " bytes",
               .allowed = std::to_string(capacity - used) + " bytes"});
}

}  // namespace

VirtualMemory::VirtualMemory(uint64_t capacity_bytes, bool guard_pages)
    : capacity_(capacity_bytes), guard_(guard_pages) {}

Buffer VirtualMemory::allocate(size_t bytes, Budget& budget, const std::string& what) {
  if (bytes == 0) return {};
  const size_t pages = whole_pages(bytes);
  std::lock_guard lock(mutex_);
  if (pages == 0 || pages > capacity_ - used_)
    refuse(what, pages ? pages : bytes, used_, capacity_);
  Reservation paid = budget.reserve(pages, what);
  std::byte* data = map_poisoned(pages);
  used_ += pages;
  return Buffer(data, bytes, std::move(paid), [this](std::byte* freed, size_t) { free(freed); });
}

std::byte* VirtualMemory::map_poisoned(size_t bytes) {
  std::byte* data = map_host_pages(bytes);
  poison(data, bytes);
  live_.emplace(address(data), bytes);
  if (guard_ && steps_ == 0) protect_host_pages(data, bytes, false);
  return data;
}

void VirtualMemory::free(std::byte* data) {
  std::lock_guard lock(mutex_);
  const auto found = live_.find(address(data));
  used_ -= found->second;
  unmap_host_pages(data, found->second);
  live_.erase(found);
}

bool VirtualMemory::contains(const void* data, size_t bytes) const {
  std::lock_guard lock(mutex_);
  const auto after = live_.upper_bound(address(data));
  if (after == live_.begin()) return false;
  const auto& [start, size] = *std::prev(after);
  const size_t offset = address(data) - start;
  return offset <= size && bytes <= size - offset;
}

bool VirtualMemory::avoids(const void* data, size_t bytes) const {
  std::lock_guard lock(mutex_);
  const uintptr_t begin = address(data), end = begin + bytes;
  if (end < begin) return false;
  const auto after = live_.lower_bound(end);  // the first allocation that begins behind the range
  if (after == live_.begin()) return true;
  const auto& [start, size] = *std::prev(after);
  return start + size <= begin;
}

void VirtualMemory::poison(void* data, size_t bytes) { std::memset(data, 0xff, bytes); }

void VirtualMemory::protect_all(bool touchable) {
  for (const auto& [start, bytes] : live_) {
    protect_host_pages(reinterpret_cast<std::byte*>(start), bytes, touchable);
  }
}

VirtualMemory::Step::Step(VirtualMemory& memory) : memory_(memory) {
  if (!memory_.guard_) return;
  std::lock_guard lock(memory_.mutex_);
  if (memory_.steps_ == 0) memory_.protect_all(true);
  ++memory_.steps_;
}

VirtualMemory::Step::~Step() {
  if (!memory_.guard_) return;
  std::lock_guard lock(memory_.mutex_);
  if (--memory_.steps_ > 0) return;
  try {
    memory_.protect_all(false);
  } catch (const Error&) {  // left touchable: less strict, not wrong
  }
}

}  // namespace penstock
