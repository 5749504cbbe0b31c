#include "schedule/simulate.h"

#include <algorithm>

namespace penstock {

Timeline Simulator::run(const Schedule& sweep, const StepSeconds& seconds_of, double not_before) {
  std::erase_if(ends_, [&](const auto& end) { return end.first < previous_first_; });
  previous_first_ = sweep.first_id;
  Timeline timeline;
  timeline.entries.reserve(sweep.steps.size());
  for (const Step& step : sweep.steps) {
    const int lane = static_cast<int>(step.lane.kind);
    const double ready = std::max(not_before, free_[lane]);
    double begin = ready;
    for (const uint64_t id : step.after) {
      const auto found = ends_.find(id);
      if (found != ends_.end() && found->second > ready) {
        begin = std::max(begin, found->second + wake_seconds_);
      }
    }
    const double seconds = seconds_of(step), end = begin + seconds;
    free_[lane] = ends_[step.id] = end;
    timeline.entries.push_back({step.id, begin, end});
    timeline.busy[lane] += seconds;
    timeline.seconds = std::max(timeline.seconds, end);
  }
  return timeline;
}

Timeline simulate(const std::vector<const Schedule*>& sweeps, const StepSeconds& seconds_of) {
  Simulator simulator;
  Timeline all;
  for (const Schedule* sweep : sweeps) {
    const Timeline one = simulator.run(*sweep, seconds_of, 0);
    all.entries.insert(all.entries.end(), one.entries.begin(), one.entries.end());
    for (int lane = 0; lane < kLaneKinds; ++lane) all.busy[lane] += one.busy[lane];
    all.seconds = std::max(all.seconds, one.seconds);
  }
  return all;
}

}  // namespace penstock
