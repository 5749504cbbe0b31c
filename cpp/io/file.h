// Positional file access. No mmap anywhere: a truncated file is an error, not a signal. O_DIRECT
// where the file system allows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "tensor/units.h"

namespace penstock {

inline constexpr size_t kIoAlignment = kPageBytes;  // of direct transfers

// What identifies the content of a file cheaply; rechecked when a file is opened again.
struct FileIdentity {
  uint64_t device = 0, inode = 0, bytes = 0;
  int64_t modified_ns = 0;
  bool operator==(const FileIdentity&) const = default;
};

// The fault seam: tests replace the system calls. Every member has the semantics of the call it is
// named after, with -errno on failure. An empty member means the real call.
struct FaultSeam {
  std::function<int64_t(int fd, void* data, size_t bytes, uint64_t offset)> pread;
  std::function<int64_t(int fd, const void* data, size_t bytes, uint64_t offset)> pwrite;
  std::function<int(int fd)> fsync;
  std::function<int(int fd, uint64_t bytes)> allocate;
};

class File {
 public:
  // Opens a regular file for reading (O_NONBLOCK first, fstat must say regular). direct: try
  // O_DIRECT, fall back silently.
  static File open_read(const std::string& path, bool direct, const FaultSeam* seam = nullptr);
  // A new file for writing; must not exist. Mode 0600. direct as above.
  static File create(const std::string& path, const FaultSeam* seam = nullptr);
  static File create(const std::string& path, bool direct, const FaultSeam* seam);
  // An anonymous file in `folder` (O_TMPFILE, or created and unlinked), mode 0600, preallocated to
  // `bytes`: Error(disk_full) now, not later. direct as above.
  static File anonymous(const std::string& folder, uint64_t bytes, bool direct,
                        const FaultSeam* seam = nullptr);

  File();
  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();

  const std::string& path() const;
  bool direct()
      const;  // O_DIRECT is on: offset, size and address must be multiples of kIoAlignment
  uint64_t bytes() const;  // size when opened
  FileIdentity identity() const;

  // Reads exactly `bytes` bytes or throws Error(io): a short file names offset, wanted and got.
  // Retries EINTR and short reads.
  void read(void* data, size_t bytes, uint64_t offset) const;
  // Reads up to `bytes` bytes, at least `needed`, else Error(io): for aligned ranges whose last
  // block passes the end of the file. What lies beyond the end is left as it was.
  void read_covering(void* data, size_t bytes, uint64_t offset, size_t needed) const;
  // Any offset, size and address; goes through a bounce block when the file is direct.
  void read_unaligned(void* data, size_t bytes, uint64_t offset) const;
  // The same with the caller's bounce block: kIoAlignment-aligned, a multiple of it and at least
  // one.
  void read_unaligned(void* data, size_t bytes, uint64_t offset, std::span<std::byte> bounce) const;
  void write(const void* data, size_t bytes,
             uint64_t offset) const;  // exactly, or Error(io) / Error(disk_full)
  void sync() const;
  void allocate(uint64_t bytes) const;  // reserves [0, bytes) on disk, or Error(disk_full)
  // Throws Error(io) when the open file no longer has the size and time of modification it was
  // opened with.
  void check_unchanged() const;
  // Takes the advisory lock that lasts until this File or the process dies; false when somebody
  // else holds it.
  bool try_lock() const;

 private:
  struct State;
  explicit File(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Whole-file helper for small files: throws Error(not_found) / Error(malformed) above `limit`
// bytes.
std::string read_small_file(const std::string& path, uint64_t limit);
// Renames over `to` and fsyncs its folder. The content of `from` must have been synced.
void rename_durably(const std::string& from, const std::string& to,
                    const FaultSeam* seam = nullptr);
// Temp file in the same folder, fsync, rename, fsync of the folder.
void write_file_atomically(const std::string& path, std::string_view content,
                           const FaultSeam* seam = nullptr);

}  // namespace penstock
