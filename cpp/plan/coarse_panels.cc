#include "plan/coarse_panels.h"

#include <algorithm>

#include "base/checked.h"

namespace penstock {
namespace {

int64_t streamed_panels(const Visit& visit, Tier compute) {
  return std::count_if(visit.panels.begin(), visit.panels.end(),
                       [&](const Panel& panel) { return is_streamed(panel, compute); });
}

void coarsen(Visit* visit, Tier compute, int64_t most) {
  const int64_t run = ceil_div(streamed_panels(*visit, compute), most);
  if (run <= 1) return;
  std::vector<Panel> panels;
  int64_t length = 0;  // panels in the last one
  for (const Panel& panel : visit->panels) {
    const bool goes_on = length > 0 && length < run && is_streamed(panel, compute) &&
                         panels.back().weight == panel.weight && panels.back().home == panel.home &&
                         panels.back().row_end == panel.row_begin;
    if (!goes_on) {
      panels.push_back(panel);
      length = 1;
      continue;
    }
    panels.back().row_end = panel.row_end;
    panels.back().bytes += panel.bytes;
    panels.back().upload_bytes += panel.upload_bytes;
    ++length;
  }
  visit->panels = std::move(panels);
}

struct Counts {
  int64_t all = 0, visit = 0, pair = 0;  // of a sweep; the most of one visit, of two in a row
};

Counts count(const std::vector<Visit>& visits, Tier compute) {
  Counts counts;
  int64_t before = 0;
  for (const Visit& visit : visits) {
    const int64_t panels = streamed_panels(visit, compute);
    counts.all += panels;
    counts.visit = std::max(counts.visit, panels);
    counts.pair = std::max(counts.pair, before + panels);
    before = panels;
  }
  return counts;
}

}  // namespace

void coarsen_panels(Tier compute, int most, bool joined, MemoryPlan* plan) {
  std::vector<Visit>& visits = plan->weights.visits;
  const Counts before = count(visits, compute);
  for (Visit& visit : visits) coarsen(&visit, compute, most);
  const Counts after = count(visits, compute);
  if (after.all == before.all) return;
  const int64_t least = std::min(after.all, (joined ? after.pair : after.visit) + 1);
  const auto scaled = [&](int slots) {
    if (slots == 0) return 0;
    const int64_t same = (slots * after.all + before.all / 2) / before.all;
    return static_cast<int>(std::clamp(same, least, std::max(least, after.all)));
  };
  plan->ring_slots = scaled(plan->ring_slots);
  plan->device_ring_slots = scaled(plan->device_ring_slots);
}

}  // namespace penstock
