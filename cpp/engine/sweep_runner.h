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
  // Begins a sweep, which must stay as it is until it is over. As many may be in flight as the
  // policy says, each with requests of its own.
  virtual void start(const SweepWork& sweep) = 0;
  // Returns when the results of the oldest sweep in flight can be read. They are valid until so
  // many more have been started.
  virtual void finish() = 0;
  // Of the sweep that was finished last: logits [vocab] of a row; null when nothing was computed:
  // any token will do.
  virtual const float* logits(int64_t row) const = 0;
  virtual int32_t token(int64_t row) const = 0;  // of a row whose span wants one; -1: there is none
  virtual const ScoreState* score(int64_t index) const = 0;
};

}  // namespace penstock
