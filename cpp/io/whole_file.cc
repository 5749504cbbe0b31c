// Whole-file helpers of io/file.h.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "io/file.h"
#include "io/os_error.h"

namespace penstock {
namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void sync_folder(const std::string& folder, const FaultSeam* seam) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw_os_error(errno, "open", folder);
  const bool replaced = seam != nullptr && seam->fsync;
  const int result = replaced ? seam->fsync(fd) : ::fsync(fd) == 0 ? 0 : -errno;
  ::close(fd);
  if (result != 0) throw_os_error(-result, "fsync", folder);
}

}  // namespace

std::string read_small_file(const std::string& path, uint64_t limit) {
  const File file = File::open_read(path, false);
  if (file.bytes() > limit) {
    throw Error(ErrorCode::malformed, "the file is too large",
                {.file = path,
                 .field = "",
                 .found = std::to_string(file.bytes()) + " bytes",
                 .allowed = "at most " + std::to_string(limit) + " bytes"});
  }
  std::string content(file.bytes(), '\0');
  file.read(content.data(), content.size(), 0);
  return content;
}

void rename_durably(const std::string& from, const std::string& to, const FaultSeam* seam) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_os_error(errno, "rename", to);
  sync_folder(folder_of(to), seam);
}

void write_file_atomically(const std::string& path, std::string_view content,
                           const FaultSeam* seam) {
  const std::string writer = std::to_string(::getpid()) + "-" + std::to_string(::gettid());
  const std::string temp = path + "." + writer + ".tmp";
  ::unlink(temp.c_str());
  const File file = File::create(temp, seam);
  try {
    file.write(content.data(), content.size(), 0);
    file.sync();
    rename_durably(temp, path, seam);
  } catch (...) {
    ::unlink(temp.c_str());
    throw;
  }
}

}  // namespace penstock
