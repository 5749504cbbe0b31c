// Tokens of many rows at once: rows are independent, so each is chosen on whichever thread is free,
// with the result of one after another.
#pragma once

#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/sampler.h"

namespace penstock {

struct RowLogits {
  const float* logits = nullptr;  // [vocab]; null when nothing was computed: any token will do
  SamplerInput input;
};

class RowSampler {
 public:
  // Throws Error(invalid_argument) for the threads.
  RowSampler(int vocab, int threads);

  // Throws what Sampler::choose() throws, for the first row that is refused.
  std::vector<TokenChoice> choose(const std::vector<RowLogits>& rows);

 private:
  TokenChoice choose_one(const RowLogits& row, int worker);

  int vocab_;
  ThreadPool pool_;
  std::vector<Sampler> samplers_;  // by worker
};

}  // namespace penstock
