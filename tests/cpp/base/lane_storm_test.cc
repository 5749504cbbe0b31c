#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <vector>

#include "base/lane.h"

namespace penstock {
namespace {

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

}  // namespace
}  // namespace penstock
