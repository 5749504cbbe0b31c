#include "engine/host_limits.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/thread_pool.h"

namespace penstock {

namespace {

uint64_t meminfo_available() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  uint64_t kib = 0;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib * 1024;
    std::getline(file, unit);
  }
  return uint64_t{4} << 30;
}

uint64_t read_limit(const char* path) {
  std::ifstream file(path);
  uint64_t bytes = 0;
  return file >> bytes ? bytes : std::numeric_limits<uint64_t>::max();
}

}  // namespace

uint64_t available_host_bytes() {
  const uint64_t limit = std::min(read_limit("/sys/fs/cgroup/memory.max"),
                                  read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  return std::min(meminfo_available(), limit);
}

uint64_t free_disk_bytes(const std::string& folder) {
  struct statvfs info{};
  if (statvfs(folder.c_str(), &info) != 0) {
    throw Error(ErrorCode::not_found, "folder for spilled data cannot be used",
                {.file = folder, .field = "disk"});
  }
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

int usable_cores() { return std::max(1, static_cast<int>(usable_processors().size())); }

}  // namespace penstock
