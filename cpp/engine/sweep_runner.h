// Who performs the sweeps that the generator plans: the executor, or a dry run that only reckons.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/sweep.h"
#include "kernels/params.h"

namespace penstock {

struct SweepWork {
  const SweepPlan& plan;
  const std::vector<BatchShape>& shapes;  // of its micro-batches
  const Schedule& schedule;
};

class SweepRunner {
 public:
  virtual ~SweepRunner() = default;
  // Performs one sweep. Returns when its results can be read, which are valid until the next.
  virtual void run(const SweepWork& sweep) = 0;
  // Logits [vocab] of a row; null when nothing was computed: any token will do.
  virtual const float* logits(int64_t row) const = 0;
  virtual const ScoreState* score(int64_t index) const = 0;
};

}  // namespace penstock
