#include "schedule/order.h"

#include <algorithm>

#include "base/error.h"

namespace penstock {

void StepOrder::join(Clock* clock, const Clock& other) {
  clock->resize(std::max(clock->size(), other.size()));
  for (size_t lane = 0; lane < other.size(); ++lane) {
    (*clock)[lane] = std::max((*clock)[lane], other[lane]);
  }
}

int StepOrder::index_of(LaneId lane) {
  const auto found = std::find(lanes_.begin(), lanes_.end(), lane);
  if (found != lanes_.end()) return static_cast<int>(found - lanes_.begin());
  lanes_.push_back(lane);
  last_.push_back(0);
  return static_cast<int>(lanes_.size()) - 1;
}

void StepOrder::add(const Step& step) {
  check(step.id == first_id_ + nodes_.size(), "steps are added in the order of their ids");
  Node node;
  node.lane = index_of(step.lane);
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
  node.end.resize(std::max(node.end.size(), static_cast<size_t>(node.lane) + 1));
  node.end[node.lane] = node.position;
  nodes_.push_back(node);
  last_[node.lane] = static_cast<int64_t>(nodes_.size());
}

bool StepOrder::before(uint64_t earlier, uint64_t later) const {
  const Node& first = nodes_.at(earlier - first_id_);
  const Clock& over = nodes_.at(later - first_id_).begin;
  return first.lane < static_cast<int>(over.size()) && over[first.lane] >= first.position;
}

}  // namespace penstock
