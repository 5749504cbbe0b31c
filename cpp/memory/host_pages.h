// Anonymous pages of the host, straight from the system: the only place that maps memory. Nothing
// here is charged to a budget; allocate_host (buffer.h) does that.
#pragma once

#include <cstddef>

#include "tensor/units.h"

namespace penstock {

inline constexpr size_t kHugePageBytes = size_t{2} << 20;

// The page-rounded size, or 0 when it cannot be represented.
size_t whole_pages(size_t bytes);

// Fresh zero pages, not yet resident. `bytes` is a positive multiple of kPageBytes. From
// kHugePageBytes on the start is aligned to a huge page and huge pages are asked for. Throws
// Error(budget) when the system has no memory.
std::byte* map_host_pages(size_t bytes);
void unmap_host_pages(std::byte* data, size_t bytes) noexcept;

// Makes mapped pages touchable or not (a touch then faults). Throws Error(internal).
void protect_host_pages(std::byte* data, size_t bytes, bool touchable);

}  // namespace penstock
