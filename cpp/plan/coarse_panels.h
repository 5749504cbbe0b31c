// The same plan in fewer, larger panels, for a dry run that has to be quick and nearly right:
// neighbouring panels of one weight with one home travel as one. Bytes stay what they are, and the
// rings hold about as much of the stream as before; nothing else of the plan changes.
#pragma once

#include "plan/memory_plan.h"

namespace penstock {

// `most`: panels of a visit that need a slot, about; a visit that has no more keeps its own.
// `joined`: whether a micro-batch passes two visits in one turn, as where attention is apart.
void coarsen_panels(Tier compute, int most, bool joined, MemoryPlan* plan);

}  // namespace penstock
