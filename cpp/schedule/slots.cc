#include "schedule/slots.h"

#include <algorithm>
#include <set>

namespace penstock {

SlotPeaks slot_peaks(const std::vector<const Schedule*>& sweeps) {
  SlotPeaks peaks;
  std::set<int> live[kSlotKinds];
  for (const Schedule* sweep : sweeps) {
    for (const Step& step : sweep->steps) {
      peaks.lane_bytes[static_cast<int>(step.lane.kind)] += step.bytes;
      for (const SlotUse& use : step.slots) {
        const int kind = static_cast<int>(use.kind);
        if (use.write) live[kind].insert(use.index);
        peaks.peak[kind] = std::max(peaks.peak[kind], static_cast<int>(live[kind].size()));
      }
      for (const SlotUse& use : step.slots) {
        if (use.release) live[static_cast<int>(use.kind)].erase(use.index);
      }
    }
  }
  return peaks;
}

}  // namespace penstock
