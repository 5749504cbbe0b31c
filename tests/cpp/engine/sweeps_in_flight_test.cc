// Sweeps are planned, built, started and collected in order, and each leaves its rings to the next.
#include "engine/sweeps_in_flight.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/live_requests.h"
#include "engine/scripted_runner.h"

namespace penstock {
namespace {

using testing::live_request;
using testing::PlannedModel;
using testing::ScriptedRunner;

class SweepsInFlightTest : public ::testing::Test {
 protected:
  SweepsInFlightTest() {
    planned_.wanted.weight_share = Shares{0, 0, 1};
    planned_.plan();
  }
  SweepsInFlight sweeps() {
    return SweepsInFlight({&runner_, &planned_.program(), planned_.shaper_parts()});
  }
  LiveRequest& add(int prompt) {
    requests_.push_back(live_request(requests_.size() + 1, prompt, 4));
    return *requests_.back();
  }

  PlannedModel planned_;
  ScriptedRunner runner_;
  std::vector<std::unique_ptr<LiveRequest>> requests_;
};

TEST_F(SweepsInFlightTest, PlanningStartsNothing) {
  SweepsInFlight sweeps = this->sweeps();
  const ServedSweep none = sweeps.plan(0, {});
  EXPECT_TRUE(none.empty());
  LiveRequest& request = add(10);
  const ServedSweep sweep = sweeps.plan(1, {&request});
  EXPECT_FALSE(sweep.empty());
  EXPECT_EQ(sweep.cohort, 1);
  EXPECT_EQ(request.riding, 10);
  EXPECT_TRUE(sweeps.empty());
  EXPECT_TRUE(runner_.started.empty());
  EXPECT_THROW(sweeps.finish_oldest(), Error);
}

TEST_F(SweepsInFlightTest, TheOldestIsCollectedFirst) {
  SweepsInFlight sweeps = this->sweeps();
  LiveRequest &first = add(10), &second = add(12);
  sweeps.start(sweeps.plan(0, {&first}), false);
  sweeps.start(sweeps.plan(1, {&second}), false);
  EXPECT_EQ(sweeps.size(), 2u);
  EXPECT_TRUE(sweeps.serves(0));
  EXPECT_TRUE(sweeps.serves(1));
  EXPECT_FALSE(sweeps.serves(2));
  const ServedSweep done = sweeps.finish_oldest();
  EXPECT_EQ(runner_.finished, 1);
  EXPECT_EQ(done.requests, std::vector<LiveRequest*>{&first});
  EXPECT_EQ(done.plan.batches.at(0).tokens, 10);
  EXPECT_FALSE(sweeps.serves(0));
  EXPECT_EQ(sweeps.finish_oldest().cohort, 1);
  EXPECT_TRUE(sweeps.empty());
}

// Step ids go on from sweep to sweep, panels are read ahead for the next one unless there is none,
// and the bytes of all schedules are counted by lane.
TEST_F(SweepsInFlightTest, SweepsFollowEachOther) {
  SweepsInFlight sweeps = this->sweeps();
  LiveRequest& request = add(20);
  const auto ahead = [](const Schedule& schedule) {
    return std::count_if(schedule.steps.begin(), schedule.steps.end(),
                         [](const Step& step) { return step.ahead; });
  };
  sweeps.start(sweeps.plan(0, {&request}), false);
  const ServedSweep first = sweeps.finish_oldest();
  EXPECT_EQ(first.schedule.first_id, 1u);
  EXPECT_GT(ahead(first.schedule), 0);
  request.cached += request.riding;
  request.tokens.push_back(3);  // both sweeps visit the head
  sweeps.start(sweeps.plan(0, {&request}), true);
  const ServedSweep last = sweeps.finish_oldest();
  EXPECT_EQ(last.schedule.first_id, 1 + first.schedule.steps.size());
  EXPECT_EQ(ahead(last.schedule), 0);
  PerLane<uint64_t> bytes;
  for (const ServedSweep* sweep : {&first, &last}) {
    for (const Step& step : sweep->schedule.steps) bytes[step.lane] += step.bytes;
  }
  EXPECT_EQ(sweeps.lane_bytes(), bytes);
  EXPECT_GE(bytes.at(LaneId{LaneKind::disk_read, 0}), 2 * planned_.memory.weights.streamed_bytes);
}

}  // namespace
}  // namespace penstock
