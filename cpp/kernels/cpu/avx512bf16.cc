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
#include "kernels/cpu/bodies/raw_rows.inl"

#include "kernels/cpu/bodies/gemm_f32.inl"

#include "kernels/cpu/bodies/gemm_bf16.inl"

inline vf dot_pairs(vf sum, vf weights, vi input) {
  return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)input);
}

// Input rows first + [0, kRows).
template <int kRows>
__attribute__((noinline)) void multiply_pairs(const PairProduct& p, int64_t first, Ahead& ahead) {
  const float* w = p.w;
  RowPointers<kRows> x(p.x + first * p.x_stride, p.x_stride);
  float* sums = p.sums + first * kTileWidth;
  vf acc[kRows][kRowVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) acc[i][v] = vload(sums + i * kTileWidth + v * kLanes);
  }
  for (int64_t d = 0; d < p.pairs;) {
    ahead.touch();
    for (const int64_t end = at_most(p.pairs, d + kTurn); d < end; ++d, w += kTileWidth) {
      vf weights[kRowVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) weights[v] = vload(w + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const vi input = vset_i(int_at(x[i]));
#pragma GCC unroll 4
        for (int v = 0; v < kRowVectors; ++v) acc[i][v] = dot_pairs(acc[i][v], weights[v], input);
      }
      x.step(4);
    }
  }
  forget(sums);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) vstore(sums + i * kTileWidth + v * kLanes, acc[i][v]);
  }
}

struct DotPairs {
  static constexpr bool kStreams = true;
  static vf add(vf sum, vf column, const std::byte* pair) {
    return dot_pairs(sum, column, vset_i(int_at(pair)));
  }
  static int64_t turns(const PairProduct& product, int64_t rows) {
    return turns_of(rows, product.pairs);
  }
  static void multiply(const PairProduct& product, int64_t rows, Ahead& ahead) {
    for_row_groups<kMaxRows>(rows, [&]<int kRows>(RowCount<kRows>, int64_t i) {
      multiply_pairs<kRows>(product, i, ahead);
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
