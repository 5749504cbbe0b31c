// bf16 GEMM for AVX-512 with bf16 dot products; compiled with these instruction sets.
#include <immintrin.h>

// GCC 12 takes the deliberately undefined operand of its own intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/views.h"

namespace penstock {
namespace avx512bf16_kernels {
namespace {

#include "kernels/cpu/vec_avx512.h"

inline vf dot_pairs(vf sum, vf weights, vi input) {
  return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)input);
}

#include "kernels/cpu/bodies/math.inl"

#include "kernels/cpu/bodies/gemm_driver.inl"
#include "kernels/cpu/bodies/gemm_f32.inl"

#include "kernels/cpu/bodies/gemm_bf16.inl"

void gemm(const GemmParams& p, const KernelContext& context) {
  const WeightView view = weight_view(p.format, p.k);
  if (p.input.kind != InputKind::bf16) return gemm_avx512(p, context);
  run_gemm(GemmBf16{view}, p, context);
}

}  // namespace
}  // namespace avx512bf16_kernels

void overlay_avx512bf16(KernelTable& table) { table.gemm = avx512bf16_kernels::gemm; }

}  // namespace penstock
