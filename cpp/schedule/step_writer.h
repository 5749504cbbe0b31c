// Steps in the order in which they are submitted, each with its id.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/sweep_frame.h"

namespace penstock {

class StepWriter {
 public:
  StepWriter(const SweepFrame& frame, const Carry& carry) : frame_(frame), barrier_(carry.barrier) {
    out_.first_id = carry.next_id;
    const size_t turns = frame.positions.size() * frame.batches.size();
    out_.steps.reserve(static_cast<size_t>(frame.panel_count) + 2 * turns);
  }

  Step make(StepKind kind, int position, int batch) const {
    Step step;
    step.id = out_.first_id + out_.steps.size();
    step.kind = kind;
    step.visit = frame_.positions[position].visit;
    const LaneKind lane = lane_of(kind);
    step.lane = {lane, is_on_device(lane) ? frame_.device(position) : 0};
    step.ahead = frame_.positions[position].ahead;
    step.batch = batch;
    return step;
  }

  static void follow(Step* step, uint64_t id);  // 0: nothing

  uint64_t emit(Step step);
  // The turn of a micro-batch is over.
  void end_turn();

  uint64_t next_id() const { return out_.first_id + out_.steps.size(); }
  Schedule take() { return std::move(out_); }
  std::vector<uint64_t> take_barrier() { return std::move(barrier_); }

 private:
  const SweepFrame& frame_;
  Schedule out_;
  std::vector<uint64_t> barrier_;   // ids that every further step follows
  PerLane<uint64_t> last_of_lane_;  // since the last barrier
};

}  // namespace penstock
