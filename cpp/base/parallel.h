// How kernels run on several threads without knowing a thread pool: a plain function pointer, so
// that the files compiled with wide ISA flags include no standard library template.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

// Runs body(arg, task, worker) for task = 0..tasks-1, each exactly once, worker in [0, workers).
// Returns when all ran. Bodies must not throw. Which worker runs which task is not defined, so
// results may not depend on it.
struct Parallel {
  using Body = void (*)(void* arg, int64_t task, int worker);
  void (*run)(void* pool, int64_t tasks, Body body, void* arg) = nullptr;
  void* pool = nullptr;
  int workers = 1;

  // F: void(int64_t task, int worker).
  template <class F>
  void for_each(int64_t tasks, F f) const {
    run(
        pool, tasks,
        [](void* arg, int64_t task, int worker) { (*static_cast<F*>(arg))(task, worker); }, &f);
  }
};

}  // namespace penstock
