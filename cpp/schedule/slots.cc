#include "schedule/slots.h"

#include <algorithm>
#include <map>
#include <set>

namespace penstock {

SlotPeaks slot_peaks(const std::vector<const Schedule*>& sweeps) {
  SlotPeaks peaks;
  std::map<std::pair<SlotKind, int>, std::set<int>> live;  // by kind and device
  const auto live_of = [&](const Step& step, const SlotUse& use) -> std::set<int>& {
    return live[{use.kind, is_on_device(use.kind) ? step.lane.ordinal : 0}];
  };
  for (const Schedule* sweep : sweeps) {
    for (const Step& step : sweep->steps) {
      peaks.lane_bytes[step.lane] += step.bytes;
      for (const SlotUse& use : step.slots) {
        std::set<int>& slots = live_of(step, use);
        if (use.write) slots.insert(use.index);
        int& peak = peaks.peak[static_cast<int>(use.kind)];
        peak = std::max(peak, static_cast<int>(slots.size()));
      }
      for (const SlotUse& use : step.slots) {
        if (use.release) live_of(step, use).erase(use.index);
      }
    }
  }
  return peaks;
}

}  // namespace penstock
