// The two halves of memory_plan(), apart so that a search can place the weights once and size
// everything else many times.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/memory_plan.h"

namespace penstock {

// Bytes that the weights of one sweep move, and how many visits there are. `head_*`: the part of
// the head's visits.
struct WeightTraffic {
  uint64_t disk_bytes = 0, head_disk_bytes = 0;
  uint64_t upload_bytes = 0, head_upload_bytes = 0;
  uint64_t matrix_bytes = 0, head_matrix_bytes = 0;  // all panels, wherever they live
  int64_t visits = 0, attention_visits = 0, head_visits = 0;
};

// What sizes depend on, of a placement.
struct WeightSummary {
  uint64_t host_bytes = 0;             // resident there, each segment rounded up to 64
  std::vector<uint64_t> device_bytes;  // by device; empty: none on any
  uint64_t max_panel_bytes = 0;
  int visit_panels = 0;       // most panels of one visit that need a slot
  int visit_disk_panels = 0;  // of those, from disk
  int layer_panels = 0;       // most panels of two visits in a row
  int64_t panels = 0;         // that need a slot, in a sweep
  int64_t head_columns = 0;
  WeightTraffic traffic;
};

Tier compute_tier(const PlanInput& input);
WeightPlan place(const PlanInput& input, const ResolvedPolicy& policy);
WeightSummary summarise(const PlanInput& input, const WeightPlan& plan);
// Everything but MemoryPlan::weights.
MemoryPlan lay_out(const PlanInput& input, const ResolvedPolicy& policy,
                   const WeightSummary& weights);

// Whether a tier, every device of it, has room.
bool fits(const PlanInput& input, const MemoryPlan& plan, Tier tier);

// Most panels that need a slot at once: of a visit, or of the two that attention apart joins.
int joined_panels(const WeightSummary& weights, const ResolvedPolicy& policy);
// Slots that let the disk work on while the largest visit computes.
int comfortable_ring_slots(const WeightSummary& weights, const ResolvedPolicy& policy);
// Slots below which no sweep can be built.
int smallest_ring_slots(const WeightSummary& weights, const ResolvedPolicy& policy);

}  // namespace penstock
