// Discrete-event run of schedules on modelled lanes: when each step begins and ends if lanes are
// in-order and every step takes the seconds that `seconds_of` says.
#pragma once

#include <functional>
#include <unordered_map>
#include <vector>

#include "schedule/step.h"

namespace penstock {

struct Timeline {
  struct Entry {
    uint64_t step = 0;
    double begin = 0, end = 0;
  };
  std::vector<Entry> entries;    // in step order
  double seconds = 0;            // end of the last step
  double busy[kLaneKinds] = {};  // seconds per lane kind
};

using StepSeconds = std::function<double(const Step&)>;

// One sweep after the other; lanes go on from where the sweep before left them.
class Simulator {
 public:
  // A lane that had to wait for a step of another one begins `wake_seconds` after its end.
  explicit Simulator(double wake_seconds = 0) : wake_seconds_(wake_seconds) {}

  // None of the steps begins before `not_before`. Entries of this sweep alone, at absolute times.
  Timeline run(const Schedule& sweep, const StepSeconds& seconds_of, double not_before);
  // End of the steps so far on one kind of lane.
  double lane_end(LaneKind lane) const { return free_[static_cast<int>(lane)]; }

 private:
  double wake_seconds_;
  double free_[kLaneKinds] = {};
  // Of the steps of this sweep and the one before; what is older is over.
  std::unordered_map<uint64_t, double> ends_;
  uint64_t previous_first_ = 0;
};

Timeline simulate(const std::vector<const Schedule*>& sweeps, const StepSeconds& seconds_of);

}  // namespace penstock
