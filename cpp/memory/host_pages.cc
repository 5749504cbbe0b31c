#include "memory/host_pages.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/checked.h"
#include "base/error.h"

namespace penstock {
namespace {

std::byte* map_anonymous(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data != MAP_FAILED) return static_cast<std::byte*>(data);
  throw Error(ErrorCode::budget, "the system has no memory for " + std::to_string(bytes) +
                                     " bytes: " + std::strerror(errno));
}

// Maps more than asked and gives back what lies before and after the aligned part; none of it was
// ever touched.
std::byte* map_huge(size_t bytes) {
  std::byte* data = map_anonymous(bytes + kHugePageBytes);
  const size_t misaligned = reinterpret_cast<uintptr_t>(data) % kHugePageBytes;
  const size_t before = misaligned == 0 ? 0 : kHugePageBytes - misaligned;
  const size_t behind = kHugePageBytes - before;
  if (before > 0) munmap(data, before);
  if (behind > 0) munmap(data + before + bytes, behind);
  madvise(data + before, bytes, MADV_HUGEPAGE);  // advice: a kernel without huge pages may refuse
  return data + before;
}

}  // namespace

size_t whole_pages(size_t bytes) {
  if (bytes > static_cast<size_t>(INT64_MAX) - 2 * kHugePageBytes) return 0;
  return static_cast<size_t>(round_up(static_cast<int64_t>(bytes), kPageBytes));
}

std::byte* map_host_pages(size_t bytes) {
  check(bytes > 0 && bytes % kPageBytes == 0, "host pages are mapped whole");
  return bytes < kHugePageBytes ? map_anonymous(bytes) : map_huge(bytes);
}

void unmap_host_pages(std::byte* data, size_t bytes) noexcept { munmap(data, bytes); }

void protect_host_pages(std::byte* data, size_t bytes, bool touchable) {
  const int access = touchable ? PROT_READ | PROT_WRITE : PROT_NONE;
  check(mprotect(data, bytes, access) == 0,
        "the system refused to change the protection of host pages");
}

}  // namespace penstock
