// A fixed set of compute threads. The caller of run() works too, so `threads` = 1 starts no thread
// at all. Tasks are claimed one by one from a shared counter. Idle workers spin for a few
// microseconds, then sleep. Only one run() at a time: the pool belongs to one compute lane. A
// pinned pool keeps each worker on one processor of those that the thread which makes the pool may
// use, the caller of run() on the first; they are shared when there are more workers than
// processors.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/parallel.h"

namespace penstock {

// The numbers of the processors that this thread may use; none where the system does not tell.
std::vector<int> usable_processors();

class ThreadPool {
 public:
  // Throws Error(invalid_argument) unless 1 <= threads <= 1024.
  explicit ThreadPool(int threads, bool pinned = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  Parallel parallel();  // a view for kernels; valid while the pool lives

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock
