// Tokens from logits on the host; the same for every instruction set.
#pragma once

#include "kernels/cpu/isa.h"

namespace penstock {

// SampleParams for one row, scores [columns], columns <= kMostSampled. `ids` has room for as many.
int32_t sample_token(const float* scores, int64_t columns, const SampleRow& how, int32_t* ids);

void sample_rows(const SampleParams& params, const KernelContext& context);

}  // namespace penstock
