// How long a workload takes under a policy: sweeps in the steady state and at the ends, each as
// long as its busiest lane, longer when the ring is too small for disk and compute to work at the
// same time.
#pragma once

#include <vector>

#include "plan/cost.h"
#include "plan/layout.h"
#include "plan/request_lengths.h"

namespace penstock {

struct Estimate {
  double seconds = 0;            // the whole workload; per 10^6 rows when their number is unknown
  double tokens_per_second = 0;  // new tokens, steady state
  SweepLoad load;                // a sweep of the steady state
  SweepCost cost;                // and what it takes
  struct Phase {
    double sweeps = 0;
    SweepCost cost;  // of one of them
  };
  std::vector<Phase> phases;  // reading the first prompts, the steady state, the last rows
};

class Estimator {
 public:
  explicit Estimator(const PlanInput& input)
      : input_(input), lengths_(request_lengths(input)), model_(input) {}

  // `sizes` is lay_out() of the same policy and weights.
  Estimate workload(const ResolvedPolicy& policy, const WeightSummary& weights,
                    const MemoryPlan& sizes) const;

 private:
  struct Mix {  // of one sweep
    double tokens = 0, head_rows = 0, sequences = 0;
    double decode_keys = 0, prompt_keys = 0;
    double prompt_tokens = 0;  // of the tokens
  };
  SweepLoad load(const ResolvedPolicy& policy, const MemoryPlan& sizes, const Mix& mix) const;
  void add_below(const ResolvedPolicy& policy, const MemoryPlan& sizes, const Mix& mix,
                 SweepLoad* load) const;
  void add_hidden(const ResolvedPolicy& policy, const Mix& mix, SweepLoad* load) const;
  // `held_panels`: slots that the visit in progress holds.
  double seconds(int held_panels, const MemoryPlan& sizes, const SweepCost& cost) const;

  const PlanInput& input_;
  RequestLengths lengths_;
  CostModel model_;
};

}  // namespace penstock
