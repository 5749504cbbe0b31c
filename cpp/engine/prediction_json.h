// A prediction in words and numbers, as plans and reports carry it.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/dry_run.h"

namespace penstock {

// tokens_per_second, seconds, sweeps, lanes {seconds, bytes}, peak_bytes and budget_bytes by tier,
// bottleneck (a sentence), tensors by tier, roofline; `with_sweep`: the steps of a sweep from the
// middle, at seconds from its beginning.
nlohmann::json prediction_json(const DryRunInput& input, const Prediction& prediction,
                               bool with_sweep);

}  // namespace penstock
