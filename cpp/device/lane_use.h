// What every device does with its lanes.
#pragma once

#include "base/lane.h"
#include "device/device.h"

namespace penstock {

// The lanes of an accelerator, and which one a copy takes.
struct DeviceLanes {
  explicit DeviceLanes(int ordinal)
      : compute{LaneKind::compute, ordinal},
        h2d{LaneKind::h2d, ordinal},
        d2h{LaneKind::d2h, ordinal} {}

  LaneId of(CopyDirection direction) const {
    if (direction == CopyDirection::within) return compute;
    return direction == CopyDirection::h2d ? h2d : d2h;
  }

  LaneId compute, h2d, d2h;
};

inline const char* name_of(const CopyParams& params) {
  if (params.source == nullptr) return "poison";
  constexpr const char* kNames[] = {"h2d", "d2h", "copy", "peer"};
  return kNames[static_cast<int>(params.direction)];
}

// Returns when everything submitted to the lane so far has been passed, whether it failed or not.
inline void settle(LaneSet& lanes, LaneId id) noexcept {
  try {
    lanes.wait(lanes.submit(id, {}));
  } catch (...) {  // the error stays with the lane; its tickets rethrow it
  }
}

}  // namespace penstock
