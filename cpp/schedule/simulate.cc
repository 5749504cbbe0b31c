#include "schedule/simulate.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

namespace penstock {

Timeline simulate(const std::vector<const Schedule*>& sweeps,
                  const std::function<double(const Step&)>& seconds_of) {
  Timeline timeline;
  std::map<std::pair<LaneKind, int>, double> lane_free;
  std::unordered_map<uint64_t, double> ends;  // of steps before the first sweep: absent, at 0
  for (const Schedule* sweep : sweeps) {
    for (const Step& step : sweep->steps) {
      double& free = lane_free[{step.lane.kind, step.lane.ordinal}];
      double begin = free;
      for (uint64_t id : step.after) {
        const auto found = ends.find(id);
        if (found != ends.end()) begin = std::max(begin, found->second);
      }
      const double seconds = seconds_of(step);
      free = begin + seconds;
      ends[step.id] = free;
      timeline.entries.push_back({step.id, begin, free});
      timeline.busy[static_cast<int>(step.lane.kind)] += seconds;
      timeline.seconds = std::max(timeline.seconds, free);
    }
  }
  return timeline;
}

}  // namespace penstock
