#include "engine/sweeps_in_flight.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace penstock {

SweepsInFlight::SweepsInFlight(const Parts& parts)
    : parts_(parts),
      shaper_(parts.shaper),
      planner_(*parts.shaper.memory, *parts.shaper.policy, shaper_) {}

bool SweepsInFlight::serves(int cohort) const {
  return std::any_of(flying_.begin(), flying_.end(),
                     [&](const ServedSweep& sweep) { return sweep.cohort == cohort; });
}

ServedSweep SweepsInFlight::plan(int cohort, std::vector<LiveRequest*> requests) const {
  ServedSweep sweep;
  sweep.cohort = cohort;
  sweep.requests = std::move(requests);
  sweep.plan = planner_.plan(sweep.requests);
  return sweep;
}

void SweepsInFlight::start(ServedSweep planned, bool last) {
  ServedSweep& sweep = flying_.emplace_back(std::move(planned));
  BuildOptions options = shaper_.build_options();
  options.last_sweep = last;
  sweep.shapes = shaper_.shapes(sweep.plan);
  Built built = build_sweep(parts_.shaper.memory->weights.visits, *parts_.program, sweep.shapes,
                            options, carry_);
  sweep.schedule = std::move(built.schedule);
  parts_.runner->start({sweep.plan, sweep.shapes, sweep.schedule});
  carry_ = std::move(built.carry);
  for (const Step& step : sweep.schedule.steps) lane_bytes_[step.lane] += step.bytes;
}

ServedSweep SweepsInFlight::finish_oldest() {
  check(!flying_.empty(), "a sweep is in flight");
  parts_.runner->finish();
  ServedSweep sweep = std::move(flying_.front());
  flying_.pop_front();
  return sweep;
}

}  // namespace penstock
