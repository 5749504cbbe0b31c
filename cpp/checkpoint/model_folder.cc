#include "checkpoint/model_folder.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "io/os_error.h"

namespace penstock {
namespace {

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  if (real == nullptr) throw_os_error(errno, "open", path);
  return real.get();
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

// Sorted; sets `error` to errno when the folder cannot be opened.
std::vector<std::string> list_folder(const std::string& path, int& error) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, CloseFolder> folder(::opendir(path.c_str()));
  error = folder == nullptr ? errno : 0;
  if (folder == nullptr) return names;
  while (const dirent* entry = ::readdir(folder.get())) names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

// .../models--org--name/snapshots/<revision> has its files in .../models--org--name/blobs.
std::string hub_blobs(const std::string& real) {
  const size_t revision = real.rfind('/');
  if (revision == std::string::npos || revision == 0) return "";
  const std::string snapshots = real.substr(0, revision);
  constexpr std::string_view kSnapshots = "/snapshots";
  if (!snapshots.ends_with(kSnapshots)) return "";
  return snapshots.substr(0, snapshots.size() - kSnapshots.size()) + "/blobs";
}

bool is_below(const std::string& path, const std::string& folder) {
  return !folder.empty() && path.starts_with(folder == "/" ? folder : folder + "/");
}

bool has_incomplete(const std::string& folder) {
  int error = 0;
  const std::vector<std::string> names = list_folder(folder, error);
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.ends_with(".incomplete"); });
}

}  // namespace

ModelFolder::ModelFolder(const std::string& folder)
    : path_(folder), real_(real_path(folder)), blobs_(hub_blobs(real_)) {
  int error = 0;
  names_ = list_folder(real_, error);
  if (error != 0) throw_os_error(error, "open of the model folder", folder);
}

bool ModelFolder::has(std::string_view name) const {
  return std::binary_search(names_.begin(), names_.end(), name);
}

std::vector<std::string> ModelFolder::with_suffix(std::string_view suffix) const {
  std::vector<std::string> found;
  std::copy_if(names_.begin(), names_.end(), std::back_inserter(found),
               [&](const std::string& name) { return name.ends_with(suffix); });
  return found;
}

std::string ModelFolder::path_of(std::string_view name) const {
  return path_ + "/" + std::string(name);
}

void ModelFolder::check_inside(std::string_view name, const std::string& real) const {
  if (is_below(real, real_) || is_below(real, blobs_)) return;
  throw Error(ErrorCode::malformed, "the file is a link that leaves the model folder",
              {.file = path_of(name),
               .field = "",
               .found = quote_for_message(real, 512),
               .allowed = "a file in the folder or in the blobs of its hub cache"});
}

File ModelFolder::open(std::string_view name, bool direct, const FaultSeam* seam) const {
  const std::string path = path_of(name);
  const std::string real = real_path(path);
  check_inside(name, real);
  File file = File::open_read(path, direct, seam);
  struct stat info;
  if (::stat(real.c_str(), &info) != 0) throw_os_error(errno, "stat", path);
  if (file.identity().inode != info.st_ino || file.identity().device != info.st_dev) {
    throw Error(ErrorCode::io, "the file was replaced while it was opened",
                {.file = path, .field = "", .found = "", .allowed = ""});
  }
  return file;
}

std::string ModelFolder::hint_about_missing(std::string_view name) const {
  const bool here = has(std::string(name) + ".incomplete");
  const bool downloading =
      here || has_incomplete(real_ + "/.cache/huggingface/download") || has_incomplete(blobs_);
  return downloading ? "; an unfinished download (.incomplete) is there" : "";
}

}  // namespace penstock
