#include "schedule/simulate.h"

#include <algorithm>

namespace penstock {

Timeline Simulator::run(const Schedule& sweep, const StepSeconds& seconds_of, double not_before) {
  forget();
  first_ids_.back() = sweep.first_id;
  Timeline timeline;
  timeline.entries.reserve(sweep.steps.size());
  for (Lane& lane : lanes_) lane.busy = 0;
  for (const Step& step : sweep.steps) {
    Lane& lane = lane_of(step.lane);
    const double ready = std::max(not_before, lane.free);
    double begin = ready;
    for (const uint64_t id : step.after) {
      const double end = end_of(id);
      if (end > ready) begin = std::max(begin, end + wake_seconds_);
    }
    const double seconds = seconds_of(step), end = begin + seconds;
    lane.free = end;
    note_end(step.id, end);
    lane.busy += seconds;
    timeline.entries.push_back({step.id, begin, end});
    timeline.seconds = std::max(timeline.seconds, end);
  }
  for (const Lane& lane : lanes_) {
    if (lane.used) timeline.busy[lane.id] = lane.busy;
  }
  return timeline;
}

// Steps of sweeps that no later sweep follows.
void Simulator::forget() {
  const uint64_t first = std::max(first_end_, first_ids_.front());
  const auto old = std::min<uint64_t>(first - first_end_, ends_.size());
  ends_.erase(ends_.begin(), ends_.begin() + static_cast<int64_t>(old));
  first_end_ = first;
  std::rotate(first_ids_.begin(), first_ids_.begin() + 1, first_ids_.end());
}

Simulator::Lane& Simulator::lane_of(LaneId id) {
  const size_t index = static_cast<size_t>(id.ordinal) * kLaneKinds + static_cast<size_t>(id.kind);
  if (index >= lanes_.size()) lanes_.resize(index + 1);
  Lane& lane = lanes_[index];
  lane.id = id;
  lane.used = true;
  return lane;
}

double Simulator::end_of(uint64_t id) const {
  const bool known = id >= first_end_ && id - first_end_ < ends_.size();
  return known ? ends_[id - first_end_] : 0;
}

void Simulator::note_end(uint64_t id, double end) {
  if (id < first_end_) return;
  if (id - first_end_ >= ends_.size()) ends_.resize(id - first_end_ + 1, 0);
  ends_[id - first_end_] = end;
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
