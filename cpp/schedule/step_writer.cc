#include "schedule/step_writer.h"

#include <algorithm>

namespace penstock {

void StepWriter::follow(Step* step, uint64_t id) {
  if (id == 0 || std::find(step->after.begin(), step->after.end(), id) != step->after.end()) return;
  step->after.push_back(id);
}

uint64_t StepWriter::emit(Step step) {
  for (const uint64_t id : barrier_) follow(&step, id);
  const uint64_t id = step.id;
  if (frame_.options.step_barrier) last_of_lane_[step.lane] = id;
  out_.steps.push_back(std::move(step));
  if (!frame_.options.overlap) barrier_ = {id};
  return id;
}

void StepWriter::end_turn() {
  if (!frame_.options.step_barrier || !frame_.options.overlap) return;
  std::vector<uint64_t> barrier;
  for (auto& [lane, id] : last_of_lane_) {
    if (id != 0) barrier.push_back(id);
    id = 0;
  }
  if (!barrier.empty()) barrier_ = std::move(barrier);
}

}  // namespace penstock
