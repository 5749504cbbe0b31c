// GEMM and attention of bf16 for AVX-512 with bf16 dot products; compiled with these instruction
// sets.
#include <immintrin.h>

// GCC 12 takes the deliberately undefined operand of its own intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "kernels/attention_state.h"
#include "kernels/cpu/x86.h"
#include "kernels/views.h"

namespace penstock {
namespace avx512bf16_kernels {
namespace {

#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/bodies/math.inl"

// clang-format off: each file uses the ones above it
#include "kernels/cpu/bodies/gemm_driver.inl"
#include "kernels/cpu/bodies/ahead.inl"
#include "kernels/cpu/bodies/multiply.inl"
#include "kernels/cpu/bodies/raw_rows.inl"
// clang-format on

#include "kernels/cpu/bodies/gemm_f32.inl"

#include "kernels/cpu/bodies/gemm_bf16.inl"

// clang-format off: each file uses the ones above it
#include "kernels/cpu/bodies/kv_places.inl"
#include "kernels/cpu/bodies/attention_driver.inl"
#include "kernels/cpu/bodies/attention_tasks.inl"
#include "kernels/cpu/bodies/attention_pairs.inl"
// clang-format on

struct DotPairs {
  static constexpr bool kStreams = true;
  using Input = vi;
  static Input input(const std::byte* pair) { return vset_i(int_at(pair)); }
  static vf add(vf sum, vf column, Input input) {
    return _mm512_dpbf16_ps(sum, (__m512bh)column, (__m512bh)input);
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
  if (p.input.kind != InputKind::bf16) return gemm_avx512(p, context);
  run_gemm(GemmBf16<DotPairs>{view}, p, context);
}

void attention(const AttentionParams& p, const KernelContext& context) {
  const KvView view = kv_view(p.layout);
  if (p.exact || view.quantised || view.raw != DType::bf16 || view.head_dim % kLanes != 0) {
    return attention_avx512(p, context);
  }
  run_attention<PairAttention<DotPairs>>(p, context);
}

}  // namespace
}  // namespace avx512bf16_kernels

void overlay_avx512bf16(KernelTable& table) {
  table.gemm = avx512bf16_kernels::gemm;
  table.attention = avx512bf16_kernels::attention;
}

}  // namespace penstock
