// Kernels for AVX2 with FMA and F16C; compiled with these instruction sets.
#include <immintrin.h>

#include "kernels/attention_state.h"
#include "kernels/cpu/x86.h"
#include "kernels/sample.h"
#include "kernels/views.h"

namespace penstock {
namespace avx2_kernels {
namespace {

#include "kernels/cpu/vec_avx2.h"

#include "kernels/cpu/vec_avx2_dots.h"

#include "kernels/cpu/bodies/all.inl"

}  // namespace
}  // namespace avx2_kernels

void overlay_avx2(KernelTable& table) { avx2_kernels::overlay(table); }
void gemm_avx2(const GemmParams& params, const KernelContext& context) {
  avx2_kernels::gemm(params, context);
}
void attention_avx2(const AttentionParams& params, const KernelContext& context) {
  avx2_kernels::attention(params, context);
}

}  // namespace penstock
