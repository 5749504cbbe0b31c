// Discrete-event run of schedules on modelled lanes: when each step begins and ends if lanes are
// in-order and every step takes the seconds that `seconds_of` says.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "schedule/step.h"

namespace penstock {

struct Timeline {
  struct Entry {
    uint64_t step = 0;
    double begin = 0, end = 0;
  };
  std::vector<Entry> entries;  // in step order
  double seconds = 0;          // end of the last step
  PerLane<double> busy;        // seconds
};

using StepSeconds = std::function<double(const Step&)>;

// One sweep after the other; lanes go on from where the sweep before left them.
class Simulator {
 public:
  // A lane that had to wait for a step of another one begins `wake_seconds` after its end.
  // Sweeps follow steps of up to `sweeps` sweeps before.
  explicit Simulator(double wake_seconds = 0, int sweeps = 1)
      : wake_seconds_(wake_seconds), first_ids_(sweeps, 0) {}

  // None of the steps begins before `not_before`. Entries of this sweep alone, at absolute times.
  Timeline run(const Schedule& sweep, const StepSeconds& seconds_of, double not_before);

 private:
  struct Lane {
    LaneId id;
    bool used = false;
    double free = 0, busy = 0;  // when; of the sweep at hand
  };
  void forget();
  Lane& lane_of(LaneId id);
  double end_of(uint64_t id) const;  // 0 for steps that are over
  void note_end(uint64_t id, double end);

  double wake_seconds_;
  std::vector<Lane> lanes_;  // by ordinal and kind
  // Of the steps of this sweep and the ones before, by id from first_end_ on; what is older is
  // over.
  std::vector<double> ends_;
  uint64_t first_end_ = 0;
  std::vector<uint64_t> first_ids_;  // of the last sweeps, the oldest first
};

Timeline simulate(const std::vector<const Schedule*>& sweeps, const StepSeconds& seconds_of);

}  // namespace penstock
