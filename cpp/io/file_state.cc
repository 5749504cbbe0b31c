#include "io/file_state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "io/aligned_block.h"
#include "io/os_error.h"

namespace penstock {
namespace {

std::string_view kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "something else";
}

// -errno and EINTR handling in one place.
template <class Call>
int64_t retry_interrupted(Call call) {
  while (true) {
    const int64_t result = call();
    if (result != -EINTR) return result;
  }
}

}  // namespace

File::State::State(int fd, std::string path, const FaultSeam* seam)
    : fd(fd), path(std::move(path)), seam(seam) {}

File::State::~State() { ::close(fd); }

void File::State::try_direct() {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_DIRECT) < 0) return;
  const AlignedBlock probe(kIoAlignment);
  direct = ::pread(fd, probe.data(), kIoAlignment, 0) >= 0 || errno != EINVAL;
  if (!direct) ::fcntl(fd, F_SETFL, flags);
}

FileIdentity File::State::current_identity() const {
  struct stat info;
  if (::fstat(fd, &info) != 0) throw_os_error(errno, "fstat", path);
  if (!S_ISREG(info.st_mode)) {
    throw Error(ErrorCode::malformed, "not a regular file",
                {.file = path,
                 .field = "",
                 .found = std::string(kind_of(info.st_mode)),
                 .allowed = "a regular file"});
  }
  return {.device = info.st_dev,
          .inode = info.st_ino,
          .bytes = static_cast<uint64_t>(info.st_size),
          .modified_ns = info.st_mtim.tv_sec * int64_t{1'000'000'000} + info.st_mtim.tv_nsec};
}

void File::State::remember_identity() { identity = current_identity(); }

void File::State::check_aligned(const void* data, size_t bytes, uint64_t offset) const {
  const auto address = reinterpret_cast<uintptr_t>(data);
  check(!direct || (address | bytes | offset) % kIoAlignment == 0,
        "direct I/O needs multiples of 4096 for address, size and offset");
}

int64_t File::State::pread_once(std::byte* data, size_t bytes, uint64_t offset) const {
  return retry_interrupted([&]() -> int64_t {
    if (seam != nullptr && seam->pread) return seam->pread(fd, data, bytes, offset);
    const ssize_t got = ::pread(fd, data, bytes, static_cast<off_t>(offset));
    return got < 0 ? -errno : got;
  });
}

int64_t File::State::pwrite_once(const std::byte* data, size_t bytes, uint64_t offset) const {
  return retry_interrupted([&]() -> int64_t {
    if (seam != nullptr && seam->pwrite) return seam->pwrite(fd, data, bytes, offset);
    const ssize_t put = ::pwrite(fd, data, bytes, static_cast<off_t>(offset));
    return put < 0 ? -errno : put;
  });
}

}  // namespace penstock
