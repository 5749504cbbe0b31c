// Lifetimes of slots -> exact peak use per slot kind and the bytes each lane moves. The planner
// sizes from this, the tests compare it with what the arenas and lanes counted, as integers.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/step.h"

namespace penstock {

struct SlotPeaks {
  int peak[kSlotKinds] = {};     // slots live at once in submission order, on one device
  PerLane<uint64_t> lane_bytes;  // moved
};

SlotPeaks slot_peaks(const std::vector<const Schedule*>& sweeps);

}  // namespace penstock
