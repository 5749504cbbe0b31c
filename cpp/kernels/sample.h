// Tokens from logits on the host. What takes time, weighing many logits, is compiled for every
// instruction set (bodies/sample.inl); the rest is the same for all.
#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/sample_weight.h"

namespace penstock {

// The order of a list of ids: descending scores, ascending ids among equals.
struct BetterScore {
  const float* scores;
  bool operator()(int32_t a, int32_t b) const {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  }
};

// weigh_samples() of some instruction set: kWeighed logits at a time.
using WeighSamples = void (*)(const float* scores, const SampleScale& by, uint64_t* weights);

struct SampleTools {
  WeighSamples weigh = nullptr;
  int32_t* ids = nullptr;  // room for as many as there are logits
};

// SampleParams for one row, scores [columns].
int32_t sample_token(const float* scores, int64_t columns, const SampleRow& how,
                     const SampleTools& tools);

// columns <= kMostSampled.
void sample_rows(const SampleParams& params, const KernelContext& context, WeighSamples weigh);

}  // namespace penstock
