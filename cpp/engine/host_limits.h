// What this machine offers when the user names no budget.
#pragma once

#include <cstdint>
#include <string>

namespace penstock {

// Bytes of RAM that can be taken now without swapping, within the memory cgroup if there is one.
uint64_t available_host_bytes();
uint64_t free_disk_bytes(const std::string& folder);  // throws Error(not_found)
int usable_cores();

}  // namespace penstock
