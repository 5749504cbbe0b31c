// What every device does with its lanes.
#pragma once

#include "base/lane.h"

namespace penstock {

// Returns when everything submitted to the lane so far has been passed, whether it failed or not.
inline void settle(LaneSet& lanes, LaneId id) noexcept {
  try {
    lanes.wait(lanes.submit(id, {}));
  } catch (...) {  // the error stays with the lane; its tickets rethrow it
  }
}

}  // namespace penstock
