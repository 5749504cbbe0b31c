#include "schedule/simulate.h"

#include <algorithm>

namespace penstock {

Timeline Simulator::run(const Schedule& sweep, const StepSeconds& seconds_of, double not_before) {
  std::erase_if(ends_, [&](const auto& end) { return end.first < first_ids_.front(); });
  std::rotate(first_ids_.begin(), first_ids_.begin() + 1, first_ids_.end());
  first_ids_.back() = sweep.first_id;
  Timeline timeline;
  timeline.entries.reserve(sweep.steps.size());
  for (auto& [id, lane] : lanes_) lane.busy = 0;
  for (const Step& step : sweep.steps) {
    Lane& lane = lanes_[step.lane];
    const double ready = std::max(not_before, lane.free);
    double begin = ready;
    for (const uint64_t id : step.after) {
      const auto found = ends_.find(id);
      if (found != ends_.end() && found->second > ready) {
        begin = std::max(begin, found->second + wake_seconds_);
      }
    }
    const double seconds = seconds_of(step), end = begin + seconds;
    lane.free = ends_[step.id] = end;
    lane.busy += seconds;
    timeline.entries.push_back({step.id, begin, end});
    timeline.seconds = std::max(timeline.seconds, end);
  }
  for (const auto& [id, lane] : lanes_) timeline.busy[id] = lane.busy;
  return timeline;
}

Timeline simulate(const std::vector<const Schedule*>& sweeps, const StepSeconds& seconds_of) {
  Simulator simulator;
  Timeline all;
  for (const Schedule* sweep : sweeps) {
    const Timeline one = simulator.run(*sweep, seconds_of, 0);
    all.entries.insert(all.entries.end(), one.entries.begin(), one.entries.end());
    for (const auto& [lane, busy] : one.busy) all.busy[lane] += busy;
    all.seconds = std::max(all.seconds, one.seconds);
  }
  return all;
}

}  // namespace penstock
