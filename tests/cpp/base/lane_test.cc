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
#include "base/lane_support.h"

namespace penstock {
namespace {

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
  EXPECT_GE(lanes.stats(kRead).busy_seconds, 0.05);
}

TEST(LaneOptions, ModelledSecondsAddUp) {
  LaneSet lanes;
  lanes.open(kCompute, {.bytes_per_second = 1e6});
  for (int i = 0; i < 20; ++i) {
    LaneTask modelled = task([] {});
    modelled.seconds = i % 2 == 0 ? 0.002 : 0;
    modelled.bytes = i % 2 == 0 ? 1000 : 500;  // the longer of the two counts
    lanes.submit(kCompute, std::move(modelled));
  }
  lanes.wait_all();
  EXPECT_GE(lanes.stats(kCompute).busy_seconds, 10 * 0.002 + 10 * 0.0005);
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
