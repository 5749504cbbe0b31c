#include "base/lane.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "base/error.h"

namespace penstock {
namespace {

constexpr LaneId kCompute{LaneKind::compute, 0};
constexpr LaneId kRead{LaneKind::disk_read, 0};
constexpr LaneId kWrite{LaneKind::disk_write, 0};

LaneTask task(std::function<void()> begin, std::vector<Ticket> after = {}) {
  return {.after = std::move(after),
          .begin = std::move(begin),
          .finish = {},
          .bytes = 0,
          .label = "t",
          .tag = 0};
}

// Blocks the lane until opened, so that a test can arrange what queues up behind.
class Gate {
 public:
  void open() {
    open_.store(true);
    open_.notify_all();
  }
  std::function<void()> passage() {
    return [this] { open_.wait(false); };
  }

 private:
  std::atomic<bool> open_{false};
};

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST(Lane, NamesAreStable) {
  EXPECT_EQ(lane_name(LaneKind::compute), "compute");
  EXPECT_EQ(lane_name(LaneKind::disk_write), "disk_write");
}

TEST(Lane, RunsInOrderOnItsOwnThread) {
  LaneSet lanes;
  lanes.open(kCompute);
  std::vector<int> order;  // unguarded: one thread writes, wait() publishes
  std::thread::id worker;
  Ticket last;
  for (int i = 0; i < 1000; ++i) {
    last = lanes.submit(kCompute, task([&, i] {
                          order.push_back(i);
                          worker = std::this_thread::get_id();
                        }));
  }
  lanes.wait(last);
  ASSERT_EQ(order.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_NE(worker, std::this_thread::get_id());
  EXPECT_TRUE(lanes.done(last));
}

TEST(Lane, NothingToWaitFor) {
  LaneSet lanes;
  EXPECT_TRUE(lanes.done(Ticket{}));
  lanes.wait(Ticket{});
  lanes.wait_all();
  lanes.open(kCompute);
  int ran = 0;
  lanes.wait(lanes.submit(kCompute, task([&] { ++ran; }, {Ticket{}, Ticket{kRead, 0}})));
  EXPECT_EQ(ran, 1);
}

TEST(Lane, RefusesMisuse) {
  LaneSet lanes;
  lanes.open(kCompute);
  EXPECT_TRUE(lanes.is_open(kCompute));
  EXPECT_FALSE(lanes.is_open(kRead));
  EXPECT_THROW(lanes.open(kCompute), Error);
  EXPECT_THROW(lanes.open(kRead, {.depth = 0}), Error);
  EXPECT_THROW(lanes.submit(kRead, task({})), Error);
  EXPECT_THROW(lanes.submit(kCompute, task({}, {Ticket{kRead, 1}})), Error);
  EXPECT_THROW(lanes.submit(kCompute, task({}, {Ticket{kCompute, 1}})), Error);
  EXPECT_THROW(lanes.wait(Ticket{kCompute, 1}), Error);
  EXPECT_THROW(lanes.stats(kRead), Error);
  EXPECT_EQ(lanes.lanes().size(), 1u);
}

TEST(Lane, ATaskMayNotWaitForItsOwnLane) {
  LaneSet lanes;
  lanes.open(kCompute);
  std::string own, all;
  Gate submitted;
  Ticket self;
  lanes.submit(kCompute, task(submitted.passage()));
  self = lanes.submit(kCompute, task([&] {
                        own = message_of([&] { lanes.wait(self); });
                        all = message_of([&] { lanes.wait_all(); });
                      }));
  submitted.open();
  lanes.wait(self);
  EXPECT_NE(own, "");
  EXPECT_NE(all, "");
}

TEST(Lane, SubmittingFromALaneWorker) {
  LaneSet lanes;
  lanes.open(kCompute);
  lanes.open(kRead, {.depth = 2});
  std::atomic<int> ran{0};
  std::function<void(int)> chain = [&](int left) {
    ++ran;
    if (left > 0)
      lanes.submit(left % 2 ? kRead : kCompute, task([&chain, left] { chain(left - 1); }));
  };
  lanes.submit(kCompute, task([&] { chain(200); }));
  lanes.wait_all();
  EXPECT_EQ(ran.load(), 201);
}

// A random DAG over several lanes of random depth: when a task begins, everything it named has
// finished; begins and finishes of a lane are in order; no more tasks are in flight than allowed.
class LaneStorm : public testing::TestWithParam<uint64_t> {};

struct StormTask {
  LaneId lane;
  uint64_t number;
  std::vector<int> after;
  int64_t value = 0;  // written by begin, unguarded: dependencies alone order it
  bool finished = false;
};

struct StormLane {
  LaneId id;
  int depth, in_flight = 0;
  uint64_t begun = 0, finished = 0;
};

class Storm {
 public:
  explicit Storm(uint64_t seed) : random_(seed) {
    for (int kind = 0; kind < kLaneKinds; ++kind) {
      const int depth = 1 + static_cast<int>(random_() % 4);
      state_.push_back({{static_cast<LaneKind>(kind), kind % 2}, depth});
      lanes_.open(state_.back().id,
                  {.depth = depth, .delay_seed = seed % 2, .max_delay_microseconds = 20});
    }
  }

  void run(int count) {
    tasks_.resize(count);
    for (int i = 0; i < count; ++i) submit(i);
    lanes_.wait_all();
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(tasks_[i].finished);
      ASSERT_EQ(tasks_[i].value, expected(i));
    }
    EXPECT_EQ(wrong_.load(), 0);
  }

 private:
  void submit(int i) {
    StormTask& mine = tasks_[i];
    StormLane& lane = state_[random_() % state_.size()];
    std::vector<Ticket> after;
    for (uint64_t n = i == 0 ? 0 : random_() % 4; n > 0; --n) {
      mine.after.push_back(i - 1 - static_cast<int>(random_() % std::min(i, 40)));
      after.push_back({tasks_[mine.after.back()].lane, tasks_[mine.after.back()].number});
    }
    const Ticket ticket = lanes_.submit(lane.id, {.after = after,
                                                  .begin = [this, i, &lane] { begin(i, lane); },
                                                  .finish = [this, i, &lane] { finish(i, lane); },
                                                  .bytes = 1,
                                                  .label = "storm",
                                                  .tag = i});
    mine.lane = lane.id;
    mine.number = ticket.number;
  }

  void begin(int i, StormLane& lane) {
    int64_t value = i;
    for (const int before : tasks_[i].after) {
      if (!tasks_[before].finished) ++wrong_;
      value += 3 * tasks_[before].value;
    }
    tasks_[i].value = value % 1000003;
    if (++lane.in_flight > lane.depth) ++wrong_;
    ++lane.begun;
  }

  void finish(int i, StormLane& lane) {
    if (lane.finished >= lane.begun) ++wrong_;
    ++lane.finished;
    --lane.in_flight;
    tasks_[i].finished = true;
  }

  int64_t expected(int i) const {
    int64_t value = i;
    for (const int before : tasks_[i].after) value += 3 * tasks_[before].value;
    return value % 1000003;
  }

  std::mt19937_64 random_;
  std::vector<StormLane> state_;
  std::vector<StormTask> tasks_;
  std::atomic<int> wrong_{0};
  LaneSet lanes_;
};

TEST_P(LaneStorm, RandomGraph) { Storm(GetParam()).run(1500); }

INSTANTIATE_TEST_SUITE_P(Seeds, LaneStorm, testing::Range(uint64_t{1}, uint64_t{9}));

TEST(LaneDepth, BeginsAheadOfFinish) {
  LaneSet lanes;
  lanes.open(kRead, {.depth = 3});
  lanes.open(kCompute);
  Gate all_queued;
  const Ticket start = lanes.submit(kCompute, task(all_queued.passage()));
  std::string log;
  for (const char name : std::string("abcd")) {
    lanes.submit(kRead, {.after = {start},
                         .begin = [&log, name] { log += name; },
                         .finish = [&log, name] { log += static_cast<char>(name - 32); },
                         .bytes = 0,
                         .label = "",
                         .tag = 0});
  }
  all_queued.open();
  lanes.wait_all();
  EXPECT_EQ(log, "abcAdBCD");
}

TEST(LaneDepth, FinishesOlderTasksForItsOwnTicket) {
  LaneSet lanes;
  lanes.open(kRead, {.depth = 4});
  std::string log;
  const Ticket first = lanes.submit(kRead, {.after = {},
                                            .begin = [&] { log += 'a'; },
                                            .finish = [&] { log += 'A'; },
                                            .bytes = 0,
                                            .label = "",
                                            .tag = 0});
  const Ticket second = lanes.submit(kRead, task([&] { log += 'b'; }, {first}));
  lanes.wait(second);
  EXPECT_EQ(log, "aAb");
}

TEST(LaneDepth, FinishesOlderTasksForAnotherLanesTicket) {
  // read 1 -> compute -> read 2: the reader has to finish read 1 while read 2 waits.
  LaneSet lanes;
  lanes.open(kRead, {.depth = 8});
  lanes.open(kCompute);
  std::string log;
  const Ticket read = lanes.submit(
      kRead,
      {.after = {}, .begin = {}, .finish = [&] { log += 'r'; }, .bytes = 0, .label = "", .tag = 0});
  const Ticket compute = lanes.submit(kCompute, task([&] { log += 'c'; }, {read}));
  lanes.wait(lanes.submit(kRead, task([&] { log += 's'; }, {compute})));
  EXPECT_EQ(log, "rcs");
}

TEST(LaneError, IsStickyAndSkipsLaterTasks) {
  LaneSet lanes;
  lanes.open(kCompute);
  std::vector<int> ran;
  Gate gate;
  lanes.submit(kCompute, task(gate.passage()));
  const Ticket good = lanes.submit(kCompute, task([&] { ran.push_back(0); }));
  const Ticket bad =
      lanes.submit(kCompute, task([] { throw Error(ErrorCode::io, "the disk is on fire"); }));
  const Ticket skipped = lanes.submit(kCompute, task([&] { ran.push_back(2); }));
  gate.open();
  EXPECT_NE(message_of([&] { lanes.wait(skipped); }).find("on fire"), std::string::npos);
  lanes.wait(good);
  EXPECT_THROW(lanes.wait(bad), Error);
  EXPECT_THROW(lanes.wait(bad), Error);
  EXPECT_TRUE(lanes.done(skipped));
  const Ticket later = lanes.submit(kCompute, task([&] { ran.push_back(3); }));
  EXPECT_THROW(lanes.wait(later), Error);
  EXPECT_THROW(lanes.wait_all(), Error);
  EXPECT_EQ(ran, std::vector<int>{0});
  EXPECT_EQ(lanes.stats(kCompute).tasks, 2u);
}

TEST(LaneError, KeepsTheTypeAndCode) {
  LaneSet lanes;
  lanes.open(kCompute);
  const Ticket bad =
      lanes.submit(kCompute, task([] { throw Error(ErrorCode::disk_full, "full"); }));
  try {
    lanes.wait(bad);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::disk_full);
  }
}

TEST(LaneError, TravelsThroughTickets) {
  LaneSet lanes;
  for (const LaneId id : {kCompute, kRead, kWrite}) lanes.open(id);
  int ran = 0;
  const Ticket before = lanes.submit(kWrite, task([&] { ++ran; }));
  const Ticket bad = lanes.submit(kRead, task([] { throw Error(ErrorCode::io, "short read"); }));
  const Ticket middle = lanes.submit(kCompute, task([&] { ++ran; }, {bad}));
  const Ticket end = lanes.submit(kWrite, task([&] { ++ran; }, {middle}));
  EXPECT_NE(message_of([&] { lanes.wait(end); }).find("short read"), std::string::npos);
  EXPECT_NE(message_of([&] { lanes.wait_all(); }).find("short read"), std::string::npos);
  lanes.wait(before);
  EXPECT_EQ(ran, 1);
}

TEST(LaneError, OnlyTicketsAtOrAfterTheFailedOneFail) {
  LaneSet lanes;
  lanes.open(kRead, {.depth = 4});
  lanes.open(kCompute);
  Gate gate;
  std::string log;
  auto read = [&](char name, bool fails) {
    return lanes.submit(kRead, {.after = {},
                                .begin =
                                    [&log, name, fails] {
                                      if (fails) throw Error(ErrorCode::io, "begin failed");
                                      log += name;
                                    },
                                .finish = [&log, name] { log += static_cast<char>(name - 32); },
                                .bytes = 7,
                                .label = "",
                                .tag = 0});
  };
  lanes.submit(kRead, task(gate.passage()));
  const Ticket a = read('a', false), b = read('b', true), c = read('c', false);
  gate.open();
  EXPECT_THROW(lanes.wait(c), Error);
  EXPECT_THROW(lanes.wait(b), Error);
  lanes.wait(a);
  EXPECT_EQ(log, "aA");  // a was in flight when b failed: it is finished, b and c never
  EXPECT_EQ(lanes.stats(kRead).bytes, 7u);
  int ran = 0;
  lanes.wait(lanes.submit(kCompute, task([&] { ++ran; }, {a})));
  EXPECT_EQ(ran, 1);
}

TEST(LaneError, FinishIsCalledForEverythingBegun) {
  LaneSet lanes;
  lanes.open(kRead, {.depth = 4});
  std::atomic<int> begun{0}, finished{0};
  for (int i = 0; i < 20; ++i) {
    lanes.submit(kRead, {.after = {},
                         .begin = [&] { ++begun; },
                         .finish =
                             [&, i] {
                               ++finished;
                               if (i == 5) throw Error(ErrorCode::io, "finish failed");
                             },
                         .bytes = 0,
                         .label = "",
                         .tag = 0});
  }
  EXPECT_THROW(lanes.wait_all(), Error);
  EXPECT_EQ(begun.load(), finished.load());
  EXPECT_GE(finished.load(), 6);
  EXPECT_LE(finished.load(), 9);
}

TEST(LaneError, RecoverForgetsAndRunsAgain) {
  LaneSet lanes;
  lanes.open(kCompute);
  lanes.open(kRead, {.depth = 2});
  for (int round = 0; round < 5; ++round) {
    const Ticket bad = lanes.submit(kRead, task([] { throw Error(ErrorCode::io, "again"); }));
    lanes.submit(kCompute, task([] {}, {bad}));
    EXPECT_THROW(lanes.wait(bad), Error);
    lanes.recover();
    int ran = 0;
    const Ticket read = lanes.submit(kRead, task([&] { ++ran; }));
    lanes.wait(lanes.submit(kCompute, task([&] { ++ran; }, {bad, read})));
    EXPECT_EQ(ran, 2);
    lanes.wait_all();
  }
}

TEST(LaneError, DestructorDrainsAfterAnError) {
  auto held = std::make_shared<int>(1);
  {
    LaneSet lanes;
    lanes.open(kRead, {.depth = 3});
    lanes.open(kCompute);
    Ticket last = lanes.submit(kRead, task([held] { throw std::runtime_error("no"); }));
    for (int i = 0; i < 100; ++i) {
      last = lanes.submit(i % 2 ? kRead : kCompute, task([held] {}, {last}));
    }
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Lane, DestructorRunsWhatWasSubmitted) {
  std::atomic<int> ran{0};
  {
    LaneSet lanes;
    lanes.open(kRead, {.depth = 3});
    lanes.open(kCompute);
    Ticket last;
    for (int i = 0; i < 100; ++i) {
      last = lanes.submit(i % 2 ? kRead : kCompute, task([&] { ++ran; }, {last}));
    }
    lanes.submit(kCompute, task([&] { lanes.submit(kRead, task([&] { ++ran; })); }, {last}));
  }
  EXPECT_EQ(ran.load(), 101);
}

TEST(Lane, TaskGivesBackWhatItHoldsBeforeItsTicketIsDone) {
  LaneSet lanes;
  lanes.open(kCompute);
  auto held = std::make_shared<int>(1);
  for (int i = 0; i < 200; ++i) {
    lanes.wait(lanes.submit(kCompute, task([held] {})));
    ASSERT_EQ(held.use_count(), 1);
  }
}

TEST(LaneStatistics, CountBytesAndTasksExactly) {
  LaneSet lanes;
  lanes.open(kRead, {.depth = 4});
  uint64_t bytes = 0;
  for (uint64_t i = 1; i <= 500; ++i) {
    LaneTask counted = task([] {});
    counted.bytes = i * i;
    bytes += i * i;
    lanes.submit(kRead, std::move(counted));
  }
  lanes.wait_all();
  EXPECT_EQ(lanes.stats(kRead).bytes, bytes);
  EXPECT_EQ(lanes.stats(kRead).tasks, 500u);
}

TEST(LaneStatistics, WaitingForTicketsIsNotBusy) {
  LaneSet lanes;
  lanes.open(kRead);
  lanes.open(kCompute);
  const Ticket read =
      lanes.submit(kRead, task([] { std::this_thread::sleep_for(std::chrono::milliseconds(80)); }));
  lanes.wait(lanes.submit(kCompute, task([] {}, {read})));
  EXPECT_GE(lanes.stats(kRead).busy_seconds, 0.08);
  EXPECT_LT(lanes.stats(kCompute).busy_seconds, lanes.stats(kRead).busy_seconds);
}

TEST(LaneStatistics, BusyIsTheUnionOfInFlightTime) {
  LaneSet lanes;
  lanes.open(kRead, {.depth = 4});
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 8; ++i) {
    lanes.submit(kRead,
                 {.after = {},
                  .begin = {},
                  .finish = [] { std::this_thread::sleep_for(std::chrono::milliseconds(5)); },
                  .bytes = 0,
                  .label = "",
                  .tag = 0});
  }
  lanes.wait_all();
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  EXPECT_GE(lanes.stats(kRead).busy_seconds, 0.04);
  EXPECT_LE(lanes.stats(kRead).busy_seconds, wall.count());
}

TEST(LaneOptions, AThrottledLaneIsNeverFaster) {
  LaneSet lanes;
  lanes.open(kRead, {.depth = 3, .bytes_per_second = 1e6});
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i) {
    LaneTask counted = task([] {});
    counted.bytes = 5000;
    lanes.submit(kRead, std::move(counted));
  }
  lanes.wait_all();
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  EXPECT_GE(wall.count(), 0.05);
}

TEST(LaneEvents, TellWhatRan) {
  LaneSet lanes;
  lanes.open(kRead, {.depth = 2});
  lanes.submit(kRead, task([] {}));
  lanes.wait_all();
  EXPECT_TRUE(lanes.take_events().empty());
  lanes.record_events(true);
  for (int64_t tag = 0; tag < 10; ++tag) {
    LaneTask traced = task([] {});
    traced.tag = tag;
    traced.bytes = static_cast<uint64_t>(tag) * 3;
    traced.label = "read";
    lanes.submit(kRead, std::move(traced));
  }
  lanes.wait_all();
  const std::vector<LaneEvent> events = lanes.take_events();
  ASSERT_EQ(events.size(), 10u);
  for (int64_t tag = 0; tag < 10; ++tag) {
    EXPECT_EQ(events[tag].tag, tag);
    EXPECT_EQ(events[tag].bytes, static_cast<uint64_t>(tag) * 3);
    EXPECT_STREQ(events[tag].label, "read");
    EXPECT_LE(events[tag].begin_seconds, events[tag].end_seconds);
    EXPECT_GE(events[tag].begin_seconds, 0.0);
  }
  EXPECT_TRUE(lanes.take_events().empty());
}

TEST(Lane, ManyThreadsSubmitAndWait) {
  LaneSet lanes;
  lanes.open(kCompute);
  lanes.open(kRead, {.depth = 4});
  std::atomic<int> ran{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < 200; ++i) {
        const Ticket first = lanes.submit(caller % 2 ? kRead : kCompute, task([&] { ++ran; }));
        const Ticket second =
            lanes.submit(caller % 2 ? kCompute : kRead, task([&] { ++ran; }, {first}));
        if (i % 10 == 0) lanes.wait(second);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  lanes.wait_all();
  EXPECT_EQ(ran.load(), 1600);
}

}  // namespace
}  // namespace penstock
