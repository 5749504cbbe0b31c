// The open descriptor behind a File and the loops that finish partial transfers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "io/file.h"

namespace penstock {

struct File::State {
  State(int fd, std::string path, const FaultSeam* seam);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Tries O_DIRECT; keeps buffered I/O where the file system refuses it or wants a larger alignment
  // than ours.
  void try_direct();
  void remember_identity();  // fstat; throws unless the file is regular
  FileIdentity current_identity() const;
  void check_aligned(const void* data, size_t bytes, uint64_t offset) const;

  // One system call or its replacement: a count or -errno, EINTR already retried.
  int64_t pread_once(std::byte* data, size_t bytes, uint64_t offset) const;
  int64_t pwrite_once(const std::byte* data, size_t bytes, uint64_t offset) const;

  int fd = -1;
  std::string path;
  const FaultSeam* seam = nullptr;
  bool direct = false;
  FileIdentity identity;
};

}  // namespace penstock
