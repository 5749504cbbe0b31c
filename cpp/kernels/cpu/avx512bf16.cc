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

#include "kernels/cpu/bodies/math.inl"

#include "kernels/cpu/bodies/gemm_driver.inl"
#include "kernels/cpu/bodies/gemm_f32.inl"

#include "kernels/cpu/bodies/gemm_bf16.inl"

inline vf dot_pairs(vf sum, vf weights, vi input) {
  return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)input);
}

// Input rows first + [0, kRows).
template <int kRows, bool kAhead>
__attribute__((noinline)) void multiply_pairs(const PairProduct& p, int64_t first,
                                              const Ahead& ahead) {
  const float* w = p.w;
  const std::byte* x = p.x + first * p.x_stride;
  float* sums = p.sums + first * kTileWidth;
  const int64_t x_stride = p.x_stride;
  vf acc[kRows][kRowVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) acc[i][v] = vload(sums + i * kTileWidth + v * kLanes);
  }
  for (int64_t d = 0, pairs = p.pairs; d < pairs; ++d) {
    if constexpr (kAhead) ahead.touch(d);
    vf weights[kRowVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) weights[v] = vload(w + d * kTileWidth + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      int32_t pair;
      __builtin_memcpy(&pair, x + i * x_stride + d * 4, 4);
      const vi input = vset_i(pair);
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) acc[i][v] = dot_pairs(acc[i][v], weights[v], input);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) vstore(sums + i * kTileWidth + v * kLanes, acc[i][v]);
  }
}

struct DotPairs {
  static void multiply(const PairProduct& product, int64_t rows, const Ahead& ahead) {
    for_row_groups<kMaxRows>(rows, [&]<int kRows>(RowCount<kRows>, int64_t i) {
      if (i == 0) {
        multiply_pairs<kRows, true>(product, i, ahead);
      } else {
        multiply_pairs<kRows, false>(product, i, ahead);
      }
    });
  }
};

void gemm(const GemmParams& p, const KernelContext& context) {
  const WeightView view = weight_view(p.format, p.k);
  if (p.input.kind != InputKind::bf16) return gemm_avx512(p, context);
  run_gemm(GemmBf16<DotPairs>{view}, p, context);
}

}  // namespace
}  // namespace avx512bf16_kernels

void overlay_avx512bf16(KernelTable& table) { table.gemm = avx512bf16_kernels::gemm; }

}  // namespace penstock
