// GEMM of bf16 and quantised weights on the tile registers of AMX; compiled with these instruction
// sets.
#include <immintrin.h>

// GCC 12 takes the deliberately undefined operand of its own intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "kernels/cpu/isa.h"
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
#include "kernels/cpu/bodies/gemm_int.inl"
#include "kernels/cpu/bodies/tiles.inl"
#include "kernels/cpu/bodies/gemm_bf16_tiles.inl"
#include "kernels/cpu/bodies/gemm_int_tiles.inl"
// clang-format on

constexpr int64_t kVectorRows = 8;  // up to here vectors are as fast, and give the same bits

void gemm(const GemmParams& p, const KernelContext& context) {
  const WeightView view = weight_view(p.format, p.k);
  if (p.input.kind == InputKind::bf16) return run_gemm(GemmBf16<TilePairs>{view}, p, context);
  if (p.input.kind != InputKind::int8 || p.m <= kVectorRows) return gemm_avx512(p, context);
  if (view.bits == 8) return run_gemm(GemmIntTiles<8>{{view}}, p, context);
  run_gemm(GemmIntTiles<4>{{view}}, p, context);
}

}  // namespace
}  // namespace avx512amx_kernels

// The processors that have tiles are slower at dot products of bf16 pairs than at fp32 products.
void overlay_avx512amx(KernelTable& table) {
  table.gemm = avx512amx_kernels::gemm;
  table.attention = attention_avx512;
}

}  // namespace penstock
