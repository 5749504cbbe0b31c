// What the parts of the executor share: what all sweeps use, what one sweep in flight has for
// itself, and one step of it.
#pragma once

#include <vector>

#include "engine/binding.h"
#include "engine/context.h"
#include "engine/staging.h"
#include "store/activation_store.h"

namespace penstock {

struct ExecutorParts {
  Context* context = nullptr;
  const ModelSpec* spec = nullptr;
  const Program* program = nullptr;
  const WeightList* weights = nullptr;
  const MemoryPlan* memory = nullptr;
  const ResolvedPolicy* policy = nullptr;
  WeightStore* store = nullptr;
  KvStore* kv = nullptr;
  ActivationStore* activations = nullptr;
  Compute compute = Compute::fast;
  bool invariant = true;
};

struct BoundSweep {
  BoundSweep(int place, KvStore& kv, const PageRules& rules) : number(place), binding(kv, rules) {}

  int number;  // among those in flight: which hidden rows and head buffers are its own
  SweepBinding binding;
  std::vector<std::vector<std::vector<WeightPanel>>>
      panels;                   // [visit][matrix of the module][panel]
  std::vector<Ticket> results;  // whoever has waited for them can read the results
};

// A step to be submitted, its sweep, and the tickets of what it follows.
struct StepCall {
  const Step& step;
  BoundSweep& sweep;
  std::vector<Ticket> after;

  int64_t tag() const { return static_cast<int64_t>(step.id); }
  // A task of the step's lane that does nothing yet.
  LaneTask task() const;
};

}  // namespace penstock
