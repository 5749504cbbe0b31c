#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"

namespace penstock {
namespace {

constexpr std::chrono::microseconds kSpin{30};

// The gate in one word: a run number, whether workers may still join that run, and how many are
// inside.
constexpr uint32_t kInsideMask = (1u << 15) - 1;
constexpr uint32_t kOpen = 1u << 15;
constexpr uint32_t kRun = 1u << 16;
constexpr uint32_t run_of(uint32_t gate) { return gate / kRun; }

// True as soon as `ready` is, false after a short spin.
template <class Ready>
bool spin_until(Ready ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    if (ready()) return true;
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

std::vector<int> usable_processors() {
  cpu_set_t set;
  std::vector<int> found;
  if (pthread_getaffinity_np(pthread_self(), sizeof set, &set) != 0) return found;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) found.push_back(i);
  }
  return found;
}

// A worker joins a run only through the open gate, and the caller leaves a run only when the closed
// gate is empty: a worker that wakes too late finds the gate closed and nobody waited for it.
struct ThreadPool::State {
  int threads = 1;
  std::vector<std::thread> workers;
  std::vector<int> processors;  // to keep workers on; empty: the system may move them
  std::thread::id pinned_caller;

  Parallel::Body body = nullptr;  // written by the caller while the gate is closed and empty
  void* arg = nullptr;
  int64_t tasks = 0;

  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<uint32_t> gate{0};
  alignas(64) std::atomic<uint32_t> emptied{0};  // counts the times the closed gate became empty
  std::atomic<bool> stop{false};

  // This thread, to its processor; one that was taken from the process meanwhile is let be.
  void pin(int worker) const {
    if (processors.empty()) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processors[static_cast<size_t>(worker) % processors.size()], &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  }

  void pin_caller() {
    if (processors.empty() || pinned_caller == std::this_thread::get_id()) return;
    pinned_caller = std::this_thread::get_id();
    pin(0);
  }

  void work_through(int worker) {
    for (;;) {
      const int64_t task = next.fetch_add(1, std::memory_order_relaxed);
      if (task >= tasks) return;
      body(arg, task, worker);
    }
  }

  bool join_run(uint32_t* last_run) {
    uint32_t seen = gate.load(std::memory_order_relaxed);
    while ((seen & kOpen) && run_of(seen) != *last_run) {
      if (gate.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
        *last_run = run_of(seen);
        return true;
      }
    }
    return false;
  }

  void leave_run() {
    const uint32_t before = gate.fetch_sub(1, std::memory_order_acq_rel);
    if ((before & (kOpen | kInsideMask)) != 1) return;
    emptied.fetch_add(1, std::memory_order_release);
    emptied.notify_one();
  }

  void serve(int worker) {
    pthread_setname_np(pthread_self(), ("compute-" + std::to_string(worker)).c_str());
    pin(worker);
    uint32_t last_run = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      if (join_run(&last_run)) {
        work_through(worker);
        leave_run();
        continue;
      }
      sleep_until_run(last_run);
    }
  }

  void sleep_until_run(uint32_t last_run) {
    auto news = [&] {
      const uint32_t seen = gate.load(std::memory_order_relaxed);
      return ((seen & kOpen) && run_of(seen) != last_run) || stop.load(std::memory_order_relaxed);
    };
    if (spin_until(news)) return;
    const uint32_t seen =
        gate.load(std::memory_order_acquire);  // a gate moved by stop_all shows `stop`
    if (!news()) gate.wait(seen, std::memory_order_relaxed);
  }

  void open_gate() {
    // Run numbers go 1..65535 and around: 0 is what a fresh worker has seen.
    uint32_t run = (run_of(gate.load(std::memory_order_relaxed)) + 1) & 0xffffu;
    if (run == 0) run = 1;
    gate.store(run * kRun | kOpen, std::memory_order_release);
    gate.notify_all();
  }

  void close_gate() {
    auto empty = [&] { return (gate.load(std::memory_order_acquire) & kInsideMask) == 0; };
    const uint32_t before = gate.fetch_and(~kOpen, std::memory_order_acq_rel);
    if ((before & kInsideMask) == 0 || spin_until(empty)) return;
    for (;;) {
      const uint32_t seen = emptied.load(std::memory_order_acquire);
      if (empty()) return;
      emptied.wait(seen, std::memory_order_acquire);
    }
  }

  void run(int64_t count, Parallel::Body run_body, void* run_arg) {
    pin_caller();
    if (workers.empty() || count <= 1) {
      for (int64_t task = 0; task < count; ++task) run_body(run_arg, task, 0);
      return;
    }
    body = run_body;
    arg = run_arg;
    tasks = count;
    next.store(0, std::memory_order_relaxed);
    open_gate();
    work_through(0);
    close_gate();
  }

  void stop_all() {
    stop.store(true, std::memory_order_relaxed);
    gate.fetch_add(kRun, std::memory_order_release);
    gate.notify_all();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int threads, bool pinned) : state_(std::make_unique<State>()) {
  if (threads < 1 || threads > 1024) {
    throw Error(
        ErrorCode::invalid_argument, "number of threads is out of range",
        {.file = {}, .field = "threads", .found = std::to_string(threads), .allowed = "1 to 1024"});
  }
  state_->threads = threads;
  if (pinned) state_->processors = usable_processors();
  State* state = state_.get();
  try {
    state->workers.reserve(threads - 1);
    for (int worker = 1; worker < threads; ++worker) {
      state->workers.emplace_back([state, worker] { state->serve(worker); });
    }
  } catch (const std::system_error& error) {
    state->stop_all();
    throw Error(ErrorCode::internal, std::string("cannot start a compute thread: ") + error.what());
  }
}

ThreadPool::~ThreadPool() { state_->stop_all(); }

int ThreadPool::threads() const { return state_->threads; }

Parallel ThreadPool::parallel() {
  return Parallel{[](void* pool, int64_t tasks, Parallel::Body body, void* arg) {
                    static_cast<State*>(pool)->run(tasks, body, arg);
                  },
                  state_.get(), state_->threads};
}

}  // namespace penstock
