// From the options of an engine to its plan, and the plan in words. Needs a model's config alone.
#pragma once

#include "base/json.h"
#include "engine/model.h"
#include "penstock/engine.h"
#include "plan/memory_plan.h"

namespace penstock {

// Fills threads and budgets the caller left open by what the machine offers. Throws
// Error(invalid_argument) for a disk budget without a folder.
EngineOptions with_defaults(EngineOptions options);
bool names_accelerator(const std::string& device);
// Points into `model`.
PlanInput plan_input(const EngineOptions& options, const Model& model);
// By the policy that `options` name, or the built-in one; throws like choose_policy().
Chosen choose(const EngineOptions& options, const PlanInput& input);

struct EnginePlan {
  const EngineOptions& options;
  const Model& model;
  const PlanInput& input;
  const Chosen& chosen;
};
Json describe_plan(const EnginePlan& plan);
Json policy_json(const ResolvedPolicy& policy);  // as policy_from_json() reads it
struct PredictOptions {
  int64_t most_rows = 0;  // run through so many; 0: all
  bool with_sweep = true;
  bool coarse = false;  // in larger panels: quicker, and nearly right
};
// `rows` empty: those of the workload.
Json predict(const PlanInput& input, const Chosen& chosen, const std::vector<RowTokens>& rows,
             const PredictOptions& options);

}  // namespace penstock
