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

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kUnreachable = uint64_t{1} << 62;

uint64_t read_limit(const std::string& path) {
  std::ifstream file(path);
  uint64_t bytes = 0;
  // Version 2 writes "max", version 1 a number that no machine reaches.
  return file >> bytes && bytes < kUnreachable ? bytes : kNoLimit;
}

// The smallest limit in `file` of the folder root + group and of those between it and root. In a
// container the group may have a name that is not below root: then root is the process's own.
uint64_t smallest_limit(const std::string& root, std::string group, const char* file) {
  uint64_t limit = read_limit(root + "/" + file);
  while (group.size() > 1) {
    limit = std::min(limit, read_limit(root + group + "/" + file));
    group.resize(group.rfind('/'));
  }
  return limit;
}

bool is_memory_controller(const std::string& names) {
  return ("," + names + ",").find(",memory,") != std::string::npos;
}

}  // namespace

// A line of `self` is number:controllers:group; version 2 has number 0 and no controllers.
uint64_t cgroup_memory_limit(const CgroupFiles& files) {
  std::ifstream self(files.self);
  uint64_t limit = kNoLimit;
  for (std::string line; std::getline(self, line);) {
    const size_t names = line.find(':');
    const size_t group = names == line.npos ? line.npos : line.find(':', names + 1);
    if (group == line.npos || line.compare(group + 1, 1, "/") != 0) continue;
    const std::string path = line.substr(group + 1);
    if (line.rfind("0::", 0) == 0) {
      limit = std::min(limit, smallest_limit(files.root, path, "memory.max"));
    } else if (is_memory_controller(line.substr(names + 1, group - names - 1))) {
      limit =
          std::min(limit, smallest_limit(files.root + "/memory", path, "memory.limit_in_bytes"));
    }
  }
  return limit;
}

uint64_t available_host_bytes() { return std::min(meminfo_available(), cgroup_memory_limit()); }

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
