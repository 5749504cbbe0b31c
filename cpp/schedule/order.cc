#include "schedule/order.h"

#include <algorithm>

#include "base/error.h"

namespace penstock {

void StepOrder::join(Clock* clock, const Clock& other) {
  for (int lane = 0; lane < kLaneKinds; ++lane) {
    (*clock)[lane] = std::max((*clock)[lane], other[lane]);
  }
}

void StepOrder::add(const Step& step) {
  check(step.id == first_id_ + nodes_.size(), "steps are added in the order of their ids");
  Node node;
  node.lane = static_cast<int>(step.lane.kind);
  node.position = 1;
  const bool one_at_a_time =
      step.lane.kind == LaneKind::compute || step.lane.kind == LaneKind::host_compute;
  const Node* previous = last_[node.lane] > 0 ? &nodes_[last_[node.lane] - 1] : nullptr;
  if (previous != nullptr) {
    node.position = previous->position + 1;
    join(&node.begin, one_at_a_time ? previous->end : previous->begin);
  }
  for (uint64_t id : step.after) {
    if (known(id)) join(&node.begin, nodes_[id - first_id_].end);
  }
  node.end = node.begin;
  if (previous != nullptr) join(&node.end, previous->end);
  node.end[node.lane] = node.position;
  nodes_.push_back(node);
  last_[node.lane] = static_cast<int64_t>(nodes_.size());
}

bool StepOrder::before(uint64_t earlier, uint64_t later) const {
  const Node& first = nodes_.at(earlier - first_id_);
  return nodes_.at(later - first_id_).begin[first.lane] >= first.position;
}

}  // namespace penstock
