#include "schedule/check.h"

#include <gtest/gtest.h>

#include <bitset>
#include <map>

#include "schedule/cases.h"

namespace penstock {
namespace {

constexpr size_t kMostSteps = 4096;
using StepSet = std::bitset<kMostSteps>;

void erase(decltype(Step::after)* after, uint64_t id) {
  decltype(Step::after) kept;
  for (const uint64_t each : *after) {
    if (each != id) kept.push_back(each);
  }
  *after = kept;
}

bool one_at_a_time(const Step& step) {
  return step.lane.kind == LaneKind::compute || step.lane.kind == LaneKind::host_compute;
}

// Which steps are over when a step begins and when it is over, by plain sets.
class PlainOrder {
 public:
  explicit PlainOrder(const std::vector<Step>& steps) : begin_(steps.size()), end_(steps.size()) {
    std::map<LaneKind, size_t> last;
    previous_.assign(steps.size(), -1);
    for (size_t i = 0; i < steps.size(); ++i) {
      const auto found = last.find(steps[i].lane.kind);
      if (found != last.end()) previous_[i] = static_cast<int>(found->second);
      last[steps[i].lane.kind] = i;
      begin_[i] = begin_of(steps, i, 0);
      end_[i] = begin_[i];
      if (previous_[i] >= 0) end_[i] |= end_[previous_[i]];
      end_[i].set(i);
    }
  }

  // What is over when step i begins, if it did not name `without`.
  StepSet begin_of(const std::vector<Step>& steps, size_t i, uint64_t without) const {
    StepSet set;
    const int before = previous_[i];
    if (before >= 0) set |= one_at_a_time(steps[i]) ? end_[before] : begin_[before];
    for (uint64_t id : steps[i].after) {
      if (id != without) set |= end_[id - 1];
    }
    return set;
  }

 private:
  std::vector<int> previous_;
  std::vector<StepSet> begin_, end_;
};

struct Joined {
  Case made;
  std::vector<Schedule> sweeps;

  explicit Joined(uint64_t seed) : made(random_case(seed)) {
    made.options.overlap = true;  // without it every step follows more than it needs
    made.options.step_barrier = false;
    sweeps = build_all(made);
  }

  std::vector<Step> steps() const {
    std::vector<Step> all;
    for (const Schedule& sweep : sweeps)
      all.insert(all.end(), sweep.steps.begin(), sweep.steps.end());
    return all;
  }
  Step& at(uint64_t id) {
    for (Schedule& sweep : sweeps) {
      if (id < sweep.first_id + sweep.steps.size()) return sweep.steps[id - sweep.first_id];
    }
    throw std::out_of_range("step");
  }
  bool found() const {
    return !check_schedules(pointers(sweeps), made.visits, made.program, made.options).empty();
  }
  // Takes a step out and numbers the others anew.
  void drop(uint64_t id) {
    uint64_t next = 1;
    std::map<uint64_t, uint64_t> renamed;
    for (Schedule& sweep : sweeps) {
      std::erase_if(sweep.steps, [&](const Step& step) { return step.id == id; });
      sweep.first_id = next;
      for (Step& step : sweep.steps) {
        renamed[step.id] = next;
        step.id = next++;
        erase(&step.after, id);
        for (uint64_t& after : step.after) after = renamed.at(after);
      }
    }
  }
};

std::string what(int seed, const Step& step) {
  return "seed " + std::to_string(seed) + " step " + std::to_string(step.id) + " kind " +
         std::to_string(static_cast<int>(step.kind)) + " visit " + std::to_string(step.visit);
}

TEST(CheckSchedules, EveryDependencyIsNeededAndMissed) {
  int dropped = 0, implied = 0;
  std::map<StepKind, int> by_kind;
  for (int seed = 0; seed < 120; ++seed) {
    Joined joined(seed);
    const std::vector<Step> steps = joined.steps();
    ASSERT_LT(steps.size(), kMostSteps);
    const PlainOrder order(steps);
    for (size_t i = 0; i < steps.size(); ++i) {
      for (uint64_t id : steps[i].after) {
        if (order.begin_of(steps, i, id).test(id - 1)) {
          ++implied;
          continue;
        }
        if (steps.size() > 400 && (i + id) % 5 != 0) continue;
        Step& step = joined.at(i + 1);
        erase(&step.after, id);
        EXPECT_TRUE(joined.found()) << what(seed, step) << " no longer after " << id;
        step.after = steps[i].after;
        ++dropped;
        ++by_kind[step.kind];
      }
    }
  }
  EXPECT_GT(dropped, 2000);
  EXPECT_EQ(by_kind.size(), static_cast<size_t>(kStepKinds))
      << "every kind of step lost a dependency";
  EXPECT_LT(implied, dropped);
}

// Whether the sweeps given say that the step has to be there: a download, and the only visit of a
// head without streamed panels, could as well not be wanted.
bool must_be_there(const Case& made, const Step& step) {
  if (step.kind == StepKind::logits_download) return false;
  if (step.kind != StepKind::compute || !made.head(made.visits[step.visit])) return true;
  const Visit& visit = made.visits[step.visit];
  return !(visit.first_chunk && visit.last_chunk);
}

TEST(CheckSchedules, EveryStepIsMissed) {
  int dropped = 0;
  for (int seed = 0; seed < 120; ++seed) {
    Dice dice(seed);
    const Joined whole(seed);
    const std::vector<Step> steps = whole.steps();
    for (int i = 0; i < 12; ++i) {
      const Step& step = steps[dice.between(0, static_cast<int>(steps.size()) - 1)];
      if (!must_be_there(whole.made, step)) continue;
      Joined joined(seed);
      joined.drop(step.id);
      EXPECT_TRUE(joined.found()) << what(seed, step);
      ++dropped;
    }
  }
  EXPECT_GT(dropped, 1000);
}

// Changes one step in place, for every step that `change` applies to; all changes must be found.
template <class F>
int change_each(F change) {
  int changed = 0;
  for (int seed = 0; seed < 60; ++seed) {
    Dice dice(seed);
    Joined joined(seed);
    const auto count = static_cast<int>(joined.steps().size());
    for (int i = 0; i < 25; ++i) {
      Step& step = joined.at(dice.between(1, count));
      const Step old = step;
      if (!change(joined.made, step, dice)) continue;
      EXPECT_TRUE(joined.found()) << what(seed, old);
      step = old;
      ++changed;
    }
    EXPECT_FALSE(joined.found());
  }
  return changed;
}

TEST(CheckSchedules, AnotherSlotIsFound) {
  const int changed = change_each([](const Case&, Step& step, Dice& dice) {
    if (step.slots.empty()) return false;
    SlotUse& use = step.slots[dice.between(0, static_cast<int>(step.slots.size()) - 1)];
    if (use.write && use.release) return false;  // any free slot would do
    use.index += dice.one_in(2) ? 1 : -1;
    return true;
  });
  EXPECT_GT(changed, 300);
}

TEST(CheckSchedules, SwappedPanelsAreFound) {
  int changed = 0;
  for (int seed = 0; seed < 120; ++seed) {
    Joined joined(seed);
    Step* before = nullptr;
    for (uint64_t id = 1; id <= joined.steps().size(); ++id) {
      Step& step = joined.at(id);
      if (step.kind != StepKind::panel_read) continue;
      if (before != nullptr && before->visit == step.visit && before->ahead == step.ahead &&
          before->slots[0].index != step.slots[0].index) {
        std::swap(before->slots, step.slots);
        EXPECT_TRUE(joined.found()) << what(seed, step);
        std::swap(before->slots, step.slots);
        ++changed;
      }
      before = &step;
    }
  }
  EXPECT_GT(changed, 300);
}

TEST(CheckSchedules, ForgottenReleaseIsFound) {
  const int changed = change_each([](const Case&, Step& step, Dice&) {
    bool any = false;
    for (SlotUse& use : step.slots) {
      any |= use.release;
      use.release = false;
    }
    return any;
  });
  EXPECT_GT(changed, 300);
}

TEST(CheckSchedules, EarlyReleaseIsFound) {
  int changed = 0;
  for (int seed = 0; seed < 120; ++seed) {
    Joined joined(seed);
    for (uint64_t id = 1; id <= joined.steps().size(); ++id) {
      Step& step = joined.at(id);
      if (step.slots.empty() || step.slots[0].release || step.ahead) continue;
      step.slots[0].release = true;
      EXPECT_TRUE(joined.found()) << what(seed, step);
      step.slots[0].release = false;
      ++changed;
    }
  }
  EXPECT_GT(changed, 1000);
}

TEST(CheckSchedules, FillingAndReadingAreToldApart) {
  const int changed = change_each([](const Case&, Step& step, Dice&) {
    if (step.slots.empty()) return false;
    step.slots[0].write = !step.slots[0].write;
    return true;
  });
  EXPECT_GT(changed, 300);
}

TEST(CheckSchedules, WrongNumbersAreFound) {
  const auto id = [](const Case&, Step& step, Dice&) { return step.id += 1, true; };
  const auto after = [](const Case&, Step& step, Dice&) {
    return step.after.push_back(step.id), true;
  };
  const auto lane = [](const Case&, Step& step, Dice&) {
    step.lane.kind = step.lane.kind == LaneKind::compute ? LaneKind::d2h : LaneKind::compute;
    return true;
  };
  const auto visit = [](const Case& made, Step& step, Dice&) {
    step.visit = static_cast<int>(made.visits.size());
    return true;
  };
  const auto bytes = [](const Case&, Step& step, Dice&) {
    if (step.panel < 0) return false;
    step.bytes += 1;
    return true;
  };
  const auto panel = [](const Case&, Step& step, Dice&) {
    if (step.panel < 0) return false;
    step.panel += 1;
    return true;
  };
  EXPECT_GT(change_each(id), 500);
  EXPECT_GT(change_each(after), 500);
  EXPECT_GT(change_each(lane), 500);
  EXPECT_GT(change_each(visit), 500);
  EXPECT_GT(change_each(bytes), 100);
  EXPECT_GT(change_each(panel), 100);
}

TEST(CheckSchedules, AnotherMicroBatchIsFound) {
  const int changed = change_each([](const Case& made, Step& step, Dice&) {
    if (step.batch < 0 || !must_be_there(made, step)) return false;
    if (step.kind == StepKind::logits_download) return false;
    step.batch += 7;
    return true;
  });
  EXPECT_GT(changed, 300);
}

TEST(CheckSchedules, FewerSlotsThanUsedAreFound) {
  int found = 0;
  for (int seed = 0; seed < 60; ++seed) {
    Joined joined(seed);
    int highest = -1;
    for (const Step& step : joined.steps()) {
      for (const SlotUse& use : step.slots) {
        if (use.kind == SlotKind::host_ring) highest = std::max(highest, use.index);
      }
    }
    if (highest < 0) continue;
    joined.made.options.host_ring_slots = highest;
    EXPECT_TRUE(joined.found());
    ++found;
  }
  EXPECT_GT(found, 30);
}

// A workspace that the next micro-batch's prefetch overwrites before this one is computed: the
// classic fault of one staging slot.
TEST(CheckSchedules, PrefetchIntoTheSlotInUseIsFound) {
  int found = 0;
  for (int seed = 0; seed < 200; ++seed) {
    Joined joined(seed);
    const Step* read = nullptr;
    for (uint64_t id = 1; id <= joined.steps().size(); ++id) {
      Step& step = joined.at(id);
      if (step.kind != StepKind::kv_read) continue;
      if (read != nullptr && read->slots[0].index != step.slots[0].index) {
        const int index = step.slots[0].index;
        step.slots[0].index = read->slots[0].index;
        EXPECT_TRUE(joined.found()) << what(seed, step);
        step.slots[0].index = index;
        ++found;
      }
      read = &step;
    }
  }
  EXPECT_GT(found, 100);
}

}  // namespace
}  // namespace penstock
