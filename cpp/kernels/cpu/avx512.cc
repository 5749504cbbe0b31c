// Kernels for AVX-512 (F, BW, VL, DQ, VNNI); compiled with these instruction sets.
#include <immintrin.h>

// GCC 12 takes the deliberately undefined operand of its own intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "kernels/attention_state.h"
#include "kernels/cpu/x86.h"
#include "kernels/sample.h"
#include "kernels/views.h"

namespace penstock {
namespace avx512_kernels {
namespace {

#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/bodies/all.inl"

}  // namespace
}  // namespace avx512_kernels

void overlay_avx512(KernelTable& table) { avx512_kernels::overlay(table); }
void gemm_avx512(const GemmParams& params, const KernelContext& context) {
  avx512_kernels::gemm(params, context);
}
void attention_avx512(const AttentionParams& params, const KernelContext& context) {
  avx512_kernels::attention(params, context);
}

}  // namespace penstock
