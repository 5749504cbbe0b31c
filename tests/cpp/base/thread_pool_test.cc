#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "base/error.h"

namespace penstock {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, RunsEachTaskExactlyOnce) {
  ThreadPool pool(GetParam());
  const Parallel parallel = pool.parallel();
  EXPECT_EQ(parallel.workers, GetParam());
  std::mt19937_64 random(7);
  for (int run = 0; run < 2000; ++run) {
    std::vector<int> counts(random() % 60, 0);  // plain ints: a task run twice at once is a race
    parallel.for_each(static_cast<int64_t>(counts.size()), [&](int64_t task, int worker) {
      ASSERT_GE(worker, 0);
      ASSERT_LT(worker, GetParam());
      counts[task] += 1 + run;
    });
    for (const int count : counts) ASSERT_EQ(count, 1 + run);
  }
}

TEST_P(ThreadPoolTest, WorkerNumbersAreNotShared) {
  ThreadPool pool(GetParam());
  std::vector<int64_t> sums(GetParam(), 0);  // each written by one worker only, unguarded
  int64_t expected = 0;
  for (int64_t run = 1; run <= 500; ++run) {
    pool.parallel().for_each(64, [&](int64_t task, int worker) { sums[worker] += task * run; });
    expected += 64 * 63 / 2 * run;
  }
  int64_t sum = 0;
  for (const int64_t part : sums) sum += part;
  EXPECT_EQ(sum, expected);
}

TEST_P(ThreadPoolTest, WakesAfterSleep) {
  ThreadPool pool(GetParam());
  for (int run = 0; run < 20; ++run) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // past the spin: workers sleep
    std::atomic<int> ran{0};
    pool.parallel().for_each(GetParam() * 3, [&](int64_t, int) { ++ran; });
    ASSERT_EQ(ran.load(), GetParam() * 3);
  }
}

TEST_P(ThreadPoolTest, LongTasksAreSharedByAllWorkers) {
  ThreadPool pool(GetParam());
  std::atomic<int> inside{0};
  // Every task waits for all the others: this ends only if each worker takes one.
  pool.parallel().for_each(GetParam(), [&](int64_t, int) {
    ++inside;
    while (inside.load() < GetParam()) std::this_thread::yield();
  });
  EXPECT_EQ(inside.load(), GetParam());
}

TEST_P(ThreadPoolTest, RunFromAnotherThread) {
  ThreadPool pool(GetParam());
  for (int i = 0; i < 10; ++i) {
    int64_t sum = 0;
    std::thread caller([&] {
      std::vector<int64_t> out(100);
      pool.parallel().for_each(100, [&](int64_t task, int) { out[task] = task + i; });
      for (const int64_t value : out) sum += value;
    });
    caller.join();
    EXPECT_EQ(sum, 4950 + 100 * i);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 4, 8));

TEST(ThreadPool, OpensAndClosesWithoutARun) {
  for (int i = 0; i < 50; ++i) EXPECT_EQ(ThreadPool(4).threads(), 4);
}

TEST(ThreadPool, RefusesSillyCounts) {
  for (const int threads : {0, -1, 1025}) {
    try {
      ThreadPool pool(threads);
      FAIL() << threads;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string(error.what()).find(std::to_string(threads)), std::string::npos);
    }
  }
}

// The processors that this thread may use.
std::vector<int> allowed() {
  cpu_set_t set;
  std::vector<int> found;
  EXPECT_EQ(pthread_getaffinity_np(pthread_self(), sizeof set, &set), 0);
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) found.push_back(i);
  }
  return found;
}

TEST(ThreadPool, PinnedWorkersStayOnProcessorsOfTheMaker) {
  const std::vector<int> own = allowed();
  ThreadPool pinned(3, true), free(3);
  const auto seen_in = [](ThreadPool& pool) {
    std::vector<std::vector<int>> seen(3);
    std::thread caller([&] {  // another thread: this one stays as it is
      std::atomic<int> inside{0};
      pool.parallel().for_each(3, [&](int64_t, int worker) {
        seen[worker] = allowed();
        for (++inside; inside < 3;) std::this_thread::yield();  // so that each worker has one
      });
    });
    caller.join();
    return seen;
  };
  const auto seen = seen_in(pinned);
  for (size_t worker = 0; worker < 3; ++worker) {
    EXPECT_EQ(seen[worker], std::vector<int>{own[worker % own.size()]}) << worker;
  }
  for (const std::vector<int>& processors : seen_in(free)) EXPECT_EQ(processors, own);
  EXPECT_EQ(allowed(), own);
}

}  // namespace
}  // namespace penstock
