// GEMM of bf16 and quantised weights, and attention over bf16 and quantised caches, on the tile
// registers of AMX; compiled with these instruction sets.
#include <immintrin.h>

// GCC 12 takes the deliberately undefined operand of its own intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "kernels/attention_state.h"
#include "kernels/cpu/x86.h"
#include "kernels/views.h"

namespace penstock {
namespace avx512amx_kernels {
namespace {

#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/bodies/math.inl"

#include "kernels/cpu/bodies/ahead.inl"
#include "kernels/cpu/bodies/gemm_driver.inl"
#include "kernels/cpu/bodies/multiply.inl"
#include "kernels/cpu/bodies/raw_rows.inl"

#include "kernels/cpu/bodies/gemm_f32.inl"

// clang-format off: each file uses the ones above it
#include "kernels/cpu/bodies/gemm_bf16.inl"
#include "kernels/cpu/bodies/code_dots.inl"
#include "kernels/cpu/bodies/gemm_int.inl"
#include "kernels/cpu/bodies/tiles.inl"
#include "kernels/cpu/bodies/gemm_bf16_tiles.inl"
#include "kernels/cpu/bodies/gemm_int_tiles.inl"
#include "kernels/cpu/bodies/kv_places.inl"
#include "kernels/cpu/bodies/attention_driver.inl"
#include "kernels/cpu/bodies/attention_tasks.inl"
#include "kernels/cpu/bodies/attention_pairs.inl"
#include "kernels/cpu/bodies/attention_codes.inl"
#include "kernels/cpu/bodies/attention_tiles.inl"
#include "kernels/cpu/bodies/attention_code_tiles.inl"
#include "kernels/cpu/bodies/attention_pair_tiles.inl"
// clang-format on

constexpr int64_t kVectorRows = 8;  // up to here vectors are as fast, and give the same bits

void gemm(const GemmParams& p, const KernelContext& context) {
  const WeightView view = weight_view(p.format, p.k);
  if (p.input.kind == InputKind::bf16) return run_gemm(GemmBf16<TilePairs>{view}, p, context);
  if (p.input.kind != InputKind::int8 || p.m <= kVectorRows) return gemm_avx512(p, context);
  if (view.bits == 8) return run_gemm(GemmIntTiles<8>{{view}}, p, context);
  run_gemm(GemmIntTiles<4>{{view}}, p, context);
}

constexpr int64_t kVectorPairs = kMaxIntRows / 2;  // likewise, with quantised caches
constexpr int64_t kMostTileDim = 256;  // pairs_per_task() is a multiple of kTileSide up to here
static_assert(pairs_per_task(kMostTileDim) % kTileSide == 0);

int64_t most_pairs(const AttentionParams& p, const KvView& view) {
  int64_t most = 0;
  for (int32_t i = 0; i < p.span_count; ++i) {
    most = at_least(most, int64_t{p.spans[i].count} * (p.heads / view.kv_heads));
  }
  return most;
}

void attention(const AttentionParams& p, const KernelContext& context) {
  const KvView view = kv_view(p.layout);
  if (p.exact || view.head_dim > kMostTileDim) return attention_avx512(p, context);
  if (!view.quantised && view.raw == DType::bf16 && view.head_dim % (2 * kPairsOfStep) == 0) {
    return run_attention<TilePairAttention>(p, context);
  }
  if (!view.quantised || view.head_dim % kKvGroup != 0 || most_pairs(p, view) <= kVectorPairs) {
    return attention_avx512(p, context);
  }
  if (view.bits == 8) return run_attention<CodeAttention<8, CodeTileProducts<8>>>(p, context);
  run_attention<CodeAttention<4, CodeTileProducts<4>>>(p, context);
}

}  // namespace
}  // namespace avx512amx_kernels

void overlay_avx512amx(KernelTable& table) {
  table.gemm = avx512amx_kernels::gemm;
  table.attention = avx512amx_kernels::attention;
}

}  // namespace penstock
