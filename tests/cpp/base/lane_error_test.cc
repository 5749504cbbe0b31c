#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <vector>

#include "base/error.h"
#include "base/lane.h"
#include "base/lane_support.h"

namespace penstock {
namespace {

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

TEST(LaneError, TheFirstErrorIsTheOneOfTheLowestTicket) {
  LaneSet lanes;
  lanes.open(kRead, {.depth = 4});
  Gate gate;
  lanes.submit(kRead, task(gate.passage()));
  LaneTask late = task({});
  late.finish = [] { throw Error(ErrorCode::io, "older, fails later"); };
  late.bytes = 9;
  const Ticket older = lanes.submit(kRead, std::move(late));
  const Ticket newer =
      lanes.submit(kRead, task([] { throw Error(ErrorCode::io, "newer, fails sooner"); }));
  gate.open();
  EXPECT_NE(message_of([&] { lanes.wait(newer); }).find("older"), std::string::npos);
  EXPECT_NE(message_of([&] { lanes.wait(older); }).find("older"), std::string::npos);
  EXPECT_NE(message_of([&] { lanes.wait_all(); }).find("newer"), std::string::npos);
  EXPECT_EQ(lanes.stats(kRead).bytes, 0u);
  EXPECT_EQ(lanes.stats(kRead).tasks, 1u);
}

TEST(LaneError, WhatATaskHoldsMayUseTheLanesWhenItDies) {
  LaneSet lanes;
  lanes.open(kCompute);
  std::atomic<int> died{0};
  const auto holder = [&] {
    return std::shared_ptr<int>(new int(1), [&](int* held) {
      delete held;
      died += lanes.is_open(kCompute);
    });
  };
  const Ticket good = lanes.submit(kCompute, task([held = holder()] {}));
  const Ticket bad =
      lanes.submit(kCompute, task([held = holder()] { throw Error(ErrorCode::io, "no"); }, {good}));
  const Ticket skipped = lanes.submit(kCompute, task([held = holder()] {}, {bad}));
  EXPECT_THROW(lanes.wait(skipped), Error);
  EXPECT_EQ(died.load(), 3);
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

}  // namespace
}  // namespace penstock
