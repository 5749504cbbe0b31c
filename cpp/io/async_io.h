// Keeps several transfers in flight: splits requests over worker threads that block in
// pread/pwrite. Used through the disk lanes (begin = start, finish = wait).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "io/file.h"

namespace penstock {

struct Transfer {
  const File* file = nullptr;
  void* data = nullptr;
  uint64_t bytes = 0;
  uint64_t offset = 0;
  uint64_t needed = 0;  // reads: bytes that must be there, see File::read_covering; 0: all
  bool write = false;
  bool unaligned =
      false;  // reads of any offset, size and address: goes through a bounce block of the worker
};

class AsyncIo {
 public:
  // Memory of the bounce blocks, for whoever keeps a budget.
  static uint64_t bounce_bytes(int workers);

  explicit AsyncIo(int workers);  // throws Error(invalid_argument) unless 1 <= workers <= 256
  ~AsyncIo();                     // performs what was started
  AsyncIo(const AsyncIo&) = delete;
  AsyncIo& operator=(const AsyncIo&) = delete;

  class Pending;  // one started request
  using Handle = std::shared_ptr<Pending>;
  // Starts all transfers (cut in pieces of at most 1 MiB, unaligned ones of 16 KiB); files and
  // memory must stay until wait() returned. Requests are served in the order they were started;
  // after an error the rest of that request is skipped.
  Handle start(std::span<const Transfer> transfers);
  void wait(
      const Handle& handle);  // throws the first error of the request, after all its pieces ended

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock
