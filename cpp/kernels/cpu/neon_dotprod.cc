// GEMM of quantised weights and attention over quantised caches for NEON with dot products of
// bytes; compiled with these instruction sets.
#include <arm_neon.h>

#include "kernels/attention_state.h"
#include "kernels/cpu/arm.h"
#include "kernels/views.h"

namespace penstock {
namespace neon_dotprod_kernels {
namespace {

#include "kernels/cpu/vec_neon.h"

#include "kernels/cpu/bodies/math.inl"

// clang-format off: each file uses the ones above it
#include "kernels/cpu/bodies/gemm_driver.inl"
#include "kernels/cpu/bodies/ahead.inl"
#include "kernels/cpu/bodies/multiply.inl"
#include "kernels/cpu/bodies/raw_rows.inl"

#include "kernels/cpu/bodies/gemm_f32.inl"
#include "kernels/cpu/bodies/code_dots.inl"
#include "kernels/cpu/bodies/gemm_int.inl"
#include "kernels/cpu/bodies/kv_places.inl"
#include "kernels/cpu/bodies/attention_driver.inl"
#include "kernels/cpu/bodies/attention_tasks.inl"
#include "kernels/cpu/bodies/attention_codes.inl"
// clang-format on

void gemm(const GemmParams& p, const KernelContext& context) {
  const WeightView view = weight_view(p.format, p.k);
  if (p.input.kind != InputKind::int8) return gemm_neon(p, context);
  if (view.bits == 8) return run_gemm(GemmInt<8>{view}, p, context);
  run_gemm(GemmInt<4>{view}, p, context);
}

void attention(const AttentionParams& p, const KernelContext& context) {
  const KvView view = kv_view(p.layout);
  if (p.exact || !view.quantised) return attention_neon(p, context);
  if (view.bits == 8) return run_attention<CodeAttention<8, CodeVectors<8>>>(p, context);
  run_attention<CodeAttention<4, CodeVectors<4>>>(p, context);
}

}  // namespace
}  // namespace neon_dotprod_kernels

void overlay_neon_dotprod(KernelTable& table) {
  table.gemm = gemm_neon_dotprod;
  table.attention = attention_neon_dotprod;
}
void gemm_neon_dotprod(const GemmParams& params, const KernelContext& context) {
  neon_dotprod_kernels::gemm(params, context);
}
void attention_neon_dotprod(const AttentionParams& params, const KernelContext& context) {
  neon_dotprod_kernels::attention(params, context);
}

}  // namespace penstock
