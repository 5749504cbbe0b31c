// What is certainly over when a step begins, whatever the speed of lanes: from `after` and from
// lanes being in order. On the compute lanes a step begins when the one before it is over; on the
// others several are in flight, and only begin and end in order.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/step.h"

namespace penstock {

class StepOrder {
 public:
  explicit StepOrder(uint64_t first_id) : first_id_(first_id) {}

  // Steps in the order of their ids. Ids in `after` that are not smaller, or older than the first
  // step, are passed over.
  void add(const Step& step);
  bool known(uint64_t id) const { return id >= first_id_ && id - first_id_ < nodes_.size(); }
  // Whether `earlier` is over when `later` begins. Both are known.
  bool before(uint64_t earlier, uint64_t later) const;

 private:
  // By lane, in the order in which lanes came up: steps that are over. Shorter: 0 of the others.
  using Clock = std::vector<int64_t>;
  struct Node {
    int lane = 0;
    int64_t position = 0;  // in its lane, from 1
    Clock begin, end;
  };
  static void join(Clock* clock, const Clock& other);
  int index_of(LaneId lane);

  uint64_t first_id_;
  std::vector<Node> nodes_;
  std::vector<LaneId> lanes_;
  std::vector<int64_t> last_;  // by lane: index of the last node + 1
};

}  // namespace penstock
