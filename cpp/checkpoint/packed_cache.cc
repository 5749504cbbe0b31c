#include "checkpoint/packed_cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <map>
#include <utility>

#include "base/crc32c.h"
#include "base/error.h"
#include "checkpoint/packed_table.h"
#include "checkpoint/packer.h"
#include "io/os_error.h"

namespace penstock {
namespace {

void make_private_folder(const std::string& folder) {
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::path(folder).parent_path();
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  if (error) throw_os_error(error.value(), "create of the cache folder", parent.string());
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    throw_os_error(errno, "create of the cache folder", folder);
  }
}

// Why a file of this kind and owner is not trusted, or "".
std::string owner_fault(const struct stat& info) {
  if (S_ISLNK(info.st_mode)) return "it is a symbolic link";
  if (!S_ISREG(info.st_mode)) return "it is not a regular file";
  if (info.st_uid != ::geteuid()) return "it belongs to another user";
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "other users may write it";
  return "";
}

std::string hex(uint32_t crc) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%08x", crc);
  return digits;
}

}  // namespace

struct PackedCache::State {
  std::string path;
  PackedPlan plan;
  File file;
  std::map<std::string, size_t, std::less<>> by_name;
  std::vector<std::string> notes;
  bool packed_now = false;

  // Opens and checks the file; "" when it is good, else why not. Absent: `absent` is set.
  std::string open_file(const FaultSeam* seam, bool& absent);
  std::string open_checked(const struct stat& info, const FaultSeam* seam);
};

std::string PackedCache::State::open_file(const FaultSeam* seam, bool& absent) {
  struct stat info;
  absent = ::lstat(path.c_str(), &info) != 0 && errno == ENOENT;
  if (absent) return "it is absent";
  std::string fault = owner_fault(info);
  if (!fault.empty()) return fault;
  try {
    return open_checked(info, seam);
  } catch (const Error& error) {
    return error.message();
  }
}

std::string PackedCache::State::open_checked(const struct stat& info, const FaultSeam* seam) {
  File opened = File::open_read(path, true, seam);
  if (opened.identity().inode != info.st_ino || opened.identity().device != info.st_dev) {
    return "it was replaced while it was opened";
  }
  std::string fault = read_packed_head(opened, plan);
  if (fault.empty()) file = std::move(opened);
  return fault;
}

PackedCache::PackedCache() : state_(std::make_unique<State>()) {}
PackedCache::PackedCache(PackedCache&&) noexcept = default;
PackedCache& PackedCache::operator=(PackedCache&&) noexcept = default;
PackedCache::~PackedCache() = default;

PackedCache PackedCache::open_or_pack(const PackOptions& options,
                                      const std::vector<PackSource>& sources, Budget& host) {
  PackedCache cache;
  State& state = *cache.state_;
  state.plan = plan_packed_file(options.key, sources);
  state.path = options.folder + "/" + options.key + ".packed";
  for (size_t i = 0; i < sources.size(); ++i) state.by_name.emplace(sources[i].name, i);
  make_private_folder(options.folder);
  remove_stale_temps(options.folder);
  bool absent = false;
  const std::string fault = state.open_file(options.seam, absent);
  if (fault.empty()) return cache;
  if (!absent) {
    state.notes.push_back("packing again: " + escape_for_message(state.path, 512) + ": " + fault);
    ::unlink(state.path.c_str());
  }
  pack_to(state.path, options, sources, host, state.plan);
  state.packed_now = true;
  const std::string again = state.open_file(options.seam, absent);
  if (again.empty()) return cache;
  throw Error(ErrorCode::io, "the packed file just written cannot be used: " + again,
              {.file = state.path, .field = "", .found = "", .allowed = ""});
}

const File& PackedCache::file() const { return state_->file; }
const std::vector<std::string>& PackedCache::notes() const { return state_->notes; }
bool PackedCache::packed_now() const { return state_->packed_now; }

const PackedTensor& PackedCache::find(std::string_view name) const {
  const auto at = state_->by_name.find(name);
  check(at != state_->by_name.end(), "no packed tensor '" + escape_for_message(name) + "'");
  return state_->plan.tensors[at->second];
}

void verify_block(const PackedCache& cache, const PackedTensor& tensor, const PackedBlock& block,
                  const void* data) {
  const uint32_t found = crc32c(0, data, block.bytes);
  if (found == block.crc) return;
  const File& file = cache.file();
  struct stat info;
  const bool same =
      ::lstat(file.path().c_str(), &info) == 0 && info.st_ino == file.identity().inode;
  const bool removed = same && ::unlink(file.path().c_str()) == 0;
  throw Error(
      ErrorCode::corrupt,
      "packed weights changed on disk" +
          std::string(removed ? "; the file was removed and the next start packs again" : ""),
      {.file = file.path(),
       .field = "offset " + std::to_string(block.offset),
       .found = "tensor '" + escape_for_message(tensor.name) + "' rows " +
                std::to_string(block.row_begin) + " to " + std::to_string(block.row_end) +
                " with checksum " + hex(found),
       .allowed = "checksum " + hex(block.crc)});
}

}  // namespace penstock
