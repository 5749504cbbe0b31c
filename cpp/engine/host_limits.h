// What this machine offers when the user names no budget.
#pragma once

#include <cstdint>
#include <string>

namespace penstock {

// Bytes of RAM that can be taken now without swapping, within the memory cgroup if there is one.
uint64_t available_host_bytes();

// Where the kernel tells of cgroups; tests name folders of their own.
struct CgroupFiles {
  std::string root = "/sys/fs/cgroup";
  std::string self = "/proc/self/cgroup";
};
// The smallest limit on memory of this process's cgroup and those above it, of version 1 or 2.
// Without a limit it is the largest number there is.
uint64_t cgroup_memory_limit(const CgroupFiles& files = {});
uint64_t free_disk_bytes(const std::string& folder);  // throws Error(not_found)
int usable_cores();

}  // namespace penstock
