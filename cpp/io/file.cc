#include "io/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "io/aligned_block.h"
#include "io/file_state.h"
#include "io/os_error.h"

namespace penstock {
namespace {

constexpr size_t kBounceBytes = size_t{1} << 20;
constexpr int kMaxStalls = 16;  // partial transfers in a row that bring nothing before we give up

// A direct transfer must go on at an aligned place: the part of a block that came is done again.
size_t resume_point(size_t done, bool direct) {
  return direct ? done / kIoAlignment * kIoAlignment : done;
}

struct ReadRange {
  uint64_t offset;
  size_t wanted;
  size_t got;
};

[[noreturn]] void throw_short_file(const std::string& path, const ReadRange& range) {
  throw Error(ErrorCode::io, "the file ends early: it was truncated or is incomplete",
              {.file = path,
               .field = offset_field(range.offset),
               .found = "got " + std::to_string(range.got) + " bytes",
               .allowed = "wanted " + std::to_string(range.wanted) + " bytes"});
}

uint64_t free_bytes(int fd) {
  struct statvfs info;
  return ::fstatvfs(fd, &info) == 0 ? uint64_t{info.f_bavail} * info.f_frsize : 0;
}

int open_anonymous(const std::string& folder) {
  int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  const bool no_support = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL;
  if (fd >= 0 || !no_support) return fd;
  std::string name = folder + "/.penstock-spill-XXXXXX";
  fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd >= 0) ::unlink(name.c_str());
  return fd;
}

int allocate_by_system(int fd, uint64_t bytes) {
  int result = ::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  if (result == EOPNOTSUPP) result = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  return -result;
}

}  // namespace

File::File() = default;
File::File(File&&) noexcept = default;
File& File::operator=(File&&) noexcept = default;
File::~File() = default;
File::File(std::unique_ptr<State> state) : state_(std::move(state)) {}

File File::open_read(const std::string& path, bool direct, const FaultSeam* seam) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0 && errno == ENXIO) {
    throw Error(
        ErrorCode::malformed, "not a regular file",
        {.file = path, .field = "", .found = "a socket or device", .allowed = "a regular file"});
  }
  if (fd < 0) throw_os_error(errno, "open", path);
  auto state = std::make_unique<State>(fd, path, seam);
  state->remember_identity();
  if (direct) state->try_direct();
  return File(std::move(state));
}

File File::create(const std::string& path, const FaultSeam* seam) {
  return create(path, false, seam);
}

File File::create(const std::string& path, bool direct, const FaultSeam* seam) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) throw_os_error(errno, "create", path);
  auto state = std::make_unique<State>(fd, path, seam);
  state->remember_identity();
  if (direct) state->try_direct();
  return File(std::move(state));
}

File File::anonymous(const std::string& folder, uint64_t bytes, bool direct,
                     const FaultSeam* seam) {
  const int fd = open_anonymous(folder);
  if (fd < 0) throw_os_error(errno, "create of an anonymous file", folder);
  auto state = std::make_unique<State>(fd, folder + "/(anonymous)", seam);
  state->remember_identity();
  File file(std::move(state));
  file.allocate(bytes);
  file.state_->remember_identity();
  if (direct) file.state_->try_direct();
  return file;
}

const std::string& File::path() const { return state_->path; }
bool File::direct() const { return state_->direct; }
uint64_t File::bytes() const { return state_->identity.bytes; }
FileIdentity File::identity() const { return state_->identity; }

void File::read(void* data, size_t bytes, uint64_t offset) const {
  read_covering(data, bytes, offset, bytes);
}

void File::read_covering(void* data, size_t bytes, uint64_t offset, size_t needed) const {
  state_->check_aligned(data, bytes, offset);
  check(needed <= bytes, "a read cannot need more than it reads");
  auto* to = static_cast<std::byte*>(data);
  size_t done = 0;
  for (int stalls = 0; done < needed;) {
    const int64_t count = state_->pread_once(to + done, bytes - done, offset + done);
    if (count < 0) {
      throw_os_error(static_cast<int>(-count), "read", state_->path, offset_field(offset + done));
    }
    const size_t got = done + static_cast<size_t>(count);
    if (got >= needed) return;
    const size_t next = resume_point(got, direct());
    stalls = next > done ? 0 : stalls + 1;
    const bool at_end = count == 0 || offset + got >= state_->current_identity().bytes;
    if (at_end || stalls > kMaxStalls) throw_short_file(path(), {offset, needed, got});
    done = next;
  }
}

void File::read_unaligned(void* data, size_t bytes, uint64_t offset) const {
  if (!direct()) return read(data, bytes, offset);
  const uint64_t span = round_up(static_cast<int64_t>(bytes + kIoAlignment), kIoAlignment);
  const AlignedBlock bounce(std::min<uint64_t>(span, kBounceBytes));
  read_unaligned(data, bytes, offset, bounce.span());
}

void File::read_unaligned(void* data, size_t bytes, uint64_t offset,
                          std::span<std::byte> bounce) const {
  if (!direct()) return read(data, bytes, offset);
  check(bounce.size() >= kIoAlignment && bounce.size() % kIoAlignment == 0, "bounce block size");
  auto* to = static_cast<std::byte*>(data);
  while (bytes > 0) {
    const size_t lead = offset % kIoAlignment;
    const size_t part = std::min(bytes, bounce.size() - lead);
    const size_t span = round_up(static_cast<int64_t>(lead + part), kIoAlignment);
    read_covering(bounce.data(), span, offset - lead, lead + part);
    std::memcpy(to, bounce.data() + lead, part);
    to += part;
    offset += part;
    bytes -= part;
  }
}

void File::write(const void* data, size_t bytes, uint64_t offset) const {
  state_->check_aligned(data, bytes, offset);
  const auto* from = static_cast<const std::byte*>(data);
  size_t done = 0;
  for (int stalls = 0; done < bytes;) {
    const int64_t count = state_->pwrite_once(from + done, bytes - done, offset + done);
    if (count < 0) {
      throw_os_error(static_cast<int>(-count), "write", state_->path, offset_field(offset + done));
    }
    const size_t next = resume_point(done + static_cast<size_t>(count), direct());
    stalls = next > done ? 0 : stalls + 1;
    if (stalls > kMaxStalls) throw_os_error(EIO, "write", state_->path, offset_field(offset));
    done = next;
  }
}

void File::sync() const {
  const FaultSeam* seam = state_->seam;
  const bool replaced = seam != nullptr && seam->fsync;
  const int result = replaced ? seam->fsync(state_->fd) : ::fsync(state_->fd) == 0 ? 0 : -errno;
  if (result != 0) throw_os_error(-result, "fsync", state_->path);
}

void File::allocate(uint64_t bytes) const {
  if (bytes == 0) return;
  const FaultSeam* seam = state_->seam;
  const bool replaced = seam != nullptr && seam->allocate;
  int result;
  do {
    result = replaced ? seam->allocate(state_->fd, bytes) : allocate_by_system(state_->fd, bytes);
  } while (result == -EINTR);
  if (result == 0) return;
  if (result != -ENOSPC && result != -EDQUOT && result != -EFBIG) {
    throw_os_error(-result, "allocate", state_->path);
  }
  throw Error(ErrorCode::disk_full, "not enough disk space",
              {.file = state_->path,
               .field = "",
               .found = std::to_string(free_bytes(state_->fd)) + " bytes free",
               .allowed = "at least " + std::to_string(bytes) + " bytes"});
}

void File::check_unchanged() const {
  const FileIdentity now = state_->current_identity();
  if (now == state_->identity) return;
  const auto text = [](const FileIdentity& identity) {
    return std::to_string(identity.bytes) + " bytes, modified at " +
           std::to_string(identity.modified_ns) + " ns";
  };
  throw Error(ErrorCode::io, "the file changed while it was in use",
              {.file = path(), .field = "", .found = text(now), .allowed = text(state_->identity)});
}

bool File::try_lock() const {
  if (::flock(state_->fd, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno != EWOULDBLOCK) throw_os_error(errno, "lock", state_->path);
  return false;
}

}  // namespace penstock
