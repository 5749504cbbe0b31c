// Discrete-event run of a schedule on modelled lanes: when each step begins and ends if lanes are
// in-order and every step takes the seconds that `seconds_of` says.
#pragma once

#include <functional>
#include <vector>

#include "schedule/step.h"

namespace penstock {

struct Timeline {
  struct Entry {
    uint64_t step = 0;
    double begin = 0, end = 0;
  };
  std::vector<Entry> entries;    // in step order
  double seconds = 0;            // end of the last step
  double busy[kLaneKinds] = {};  // seconds per lane kind
};

Timeline simulate(const std::vector<const Schedule*>& sweeps,
                  const std::function<double(const Step&)>& seconds_of);

}  // namespace penstock
