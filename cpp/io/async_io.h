// Keeps several transfers in flight: splits requests over worker threads that block in pread/pwrite. Used through the
// disk lanes (begin = start, finish = wait).
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
  bool write = false;
  bool unaligned = false;  // small pieces: goes through a bounce block
};

class AsyncIo {
 public:
  explicit AsyncIo(int workers);
  ~AsyncIo();
  AsyncIo(const AsyncIo&) = delete;
  AsyncIo& operator=(const AsyncIo&) = delete;

  class Pending;  // one started request
  using Handle = std::shared_ptr<Pending>;
  // Starts all transfers (cut in pieces of at most 1 MiB); files and memory must stay until wait() returned.
  Handle start(std::span<const Transfer> transfers);
  void wait(const Handle& handle);  // throws the first error of the request, after all its pieces ended

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock
