// What every device does with its lanes.
#pragma once

#include "base/lane.h"
#include "device/device.h"

namespace penstock {

// The lanes of an accelerator, and which one a copy takes.
inline constexpr LaneId kCompute{LaneKind::compute, 0};
inline constexpr LaneId kH2d{LaneKind::h2d, 0};
inline constexpr LaneId kD2h{LaneKind::d2h, 0};

inline LaneId lane_of(CopyDirection direction) {
  if (direction == CopyDirection::within) return kCompute;
  return direction == CopyDirection::h2d ? kH2d : kD2h;
}

inline const char* name_of(const CopyParams& params) {
  if (params.source == nullptr) return "poison";
  if (params.direction == CopyDirection::within) return "copy";
  return params.direction == CopyDirection::h2d ? "h2d" : "d2h";
}

// Returns when everything submitted to the lane so far has been passed, whether it failed or not.
inline void settle(LaneSet& lanes, LaneId id) noexcept {
  try {
    lanes.wait(lanes.submit(id, {}));
  } catch (...) {  // the error stays with the lane; its tickets rethrow it
  }
}

}  // namespace penstock
