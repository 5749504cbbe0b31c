// A prediction in words and numbers, as plans and reports carry it.
#pragma once

#include "base/json.h"
#include "engine/dry_run.h"

namespace penstock {

// tokens_per_second, seconds, sweeps, lanes {seconds, bytes}, peak_bytes and budget_bytes by place,
// bottleneck (a sentence), phases (sweeps that read prompts, make tokens, or both: seconds and
// those of each lane), steps (the work of predicting), tensors by tier, roofline; `with_sweep`: the
// steps of a sweep from the middle, at seconds from its beginning.
Json prediction_json(const DryRunInput& input, const Prediction& prediction, bool with_sweep);

// Bytes by place: "device", "device:1", ..., "host", "disk".
Json budget_json(const PlanInput& input);
Json memory_json(const MemoryPlan& memory);

}  // namespace penstock
