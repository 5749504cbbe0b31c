// Plans, builds and starts sweeps, and keeps those that have not been collected yet. Each must stay
// as it is while it runs; what one leaves to the next (rings go on) is kept here too.
#pragma once

#include <list>
#include <vector>

#include "engine/sweep_planner.h"
#include "engine/sweep_runner.h"

namespace penstock {

// A sweep and the requests that it serves.
struct ServedSweep {
  int cohort = 0;
  std::vector<LiveRequest*> requests;  // in the order of service
  SweepPlan plan;
  std::vector<BatchShape> shapes;  // of its micro-batches
  Schedule schedule;

  bool empty() const { return plan.batches.empty(); }
};

class SweepsInFlight {
 public:
  struct Parts {
    SweepRunner* runner = nullptr;
    const Program* program = nullptr;
    ShaperParts shaper;
  };
  explicit SweepsInFlight(const Parts& parts);

  size_t size() const { return flying_.size(); }
  bool empty() const { return flying_.empty(); }
  bool serves(int cohort) const;

  // Divides the requests into micro-batches; sets each one's `riding`. Starts nothing.
  ServedSweep plan(int cohort, std::vector<LiveRequest*> requests) const;
  // `last`: no sweep will follow, so none is read ahead for.
  void start(ServedSweep sweep, bool last);
  // Waits for the oldest one. Its results can be read from the runner then.
  ServedSweep finish_oldest();

  const PerLane<uint64_t>& lane_bytes() const { return lane_bytes_; }  // as the schedules say

 private:
  Parts parts_;
  SweepShaper shaper_;
  SweepPlanner planner_;
  Carry carry_;
  std::list<ServedSweep> flying_;  // in the order of their start
  PerLane<uint64_t> lane_bytes_;
};

}  // namespace penstock
