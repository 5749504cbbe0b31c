// GEMM and attention of bf16 for NEON with bf16 dot products; compiled with these instruction sets.
#include <arm_neon.h>

#include "kernels/attention_state.h"
#include "kernels/cpu/arm.h"
#include "kernels/views.h"

namespace penstock {
namespace neon_bf16_kernels {
namespace {

#include "kernels/cpu/vec_neon.h"

#include "kernels/cpu/bodies/math.inl"

// clang-format off: each file uses the ones above it
#include "kernels/cpu/bodies/gemm_driver.inl"
#include "kernels/cpu/bodies/ahead.inl"
#include "kernels/cpu/bodies/multiply.inl"
#include "kernels/cpu/bodies/raw_rows.inl"

#include "kernels/cpu/bodies/gemm_f32.inl"
#include "kernels/cpu/bodies/gemm_bf16.inl"
#include "kernels/cpu/bodies/kv_places.inl"
#include "kernels/cpu/bodies/attention_driver.inl"
#include "kernels/cpu/bodies/attention_tasks.inl"
#include "kernels/cpu/bodies/attention_pairs.inl"
// clang-format on

struct DotPairs {
  static constexpr bool kStreams = true;
  using Input = bfloat16x8_t;
  static Input input(const std::byte* pair) {
    return vreinterpretq_bf16_s32(vdupq_n_s32(int_at(pair)));
  }
  static vf add(vf sum, vf column, Input input) {
    return vbfdotq_f32(sum, vreinterpretq_bf16_f32(column), input);
  }
  static int64_t work(const Product& product, int64_t rows) {
    return product_work(rows, product.steps);
  }
  static void multiply(const Product& product, int64_t rows, Ahead& ahead) {
    multiply_rows<DotPairs>(product, rows, &ahead);
  }
};

void gemm(const GemmParams& p, const KernelContext& context) {
  const WeightView view = weight_view(p.format, p.k);
  if (p.input.kind != InputKind::bf16) return gemm_neon_dotprod(p, context);
  run_gemm(GemmBf16<DotPairs>{view}, p, context);
}

void attention(const AttentionParams& p, const KernelContext& context) {
  const KvView view = kv_view(p.layout);
  if (p.exact || view.quantised || view.raw != DType::bf16 || view.head_dim % kTileWidth != 0) {
    return attention_neon_dotprod(p, context);
  }
  run_attention<PairAttention<DotPairs>>(p, context);
}

}  // namespace
}  // namespace neon_bf16_kernels

void overlay_neon_bf16(KernelTable& table) {
  table.gemm = neon_bf16_kernels::gemm;
  table.attention = neon_bf16_kernels::attention;
}

}  // namespace penstock
