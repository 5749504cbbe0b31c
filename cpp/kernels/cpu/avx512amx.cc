// bf16 GEMM on the tile registers of AMX; compiled with these instruction sets. An element of a
// tile product depends on its row and column alone, so a row's bits are its own.
#include <immintrin.h>

// GCC 12 takes the deliberately undefined operand of its own intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "kernels/cpu/isa.h"
#include "kernels/cpu/views.h"

namespace penstock {
namespace avx512amx_kernels {
namespace {

#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/bodies/math.inl"

#include "kernels/cpu/bodies/gemm_driver.inl"
#include "kernels/cpu/bodies/gemm_f32.inl"

#include "kernels/cpu/bodies/gemm_bf16.inl"

constexpr int kTileSide = 16;         // rows of a tile, and its columns of 4 bytes
constexpr int64_t kRowBytes = 64;     // of a tile
constexpr int64_t kPairsOfStep = 16;  // of one tile product: 32 values of k
static_assert(kTileWidth == 2 * kTileSide && kLanes == kTileSide);

// Tiles 0 to 3: sums of two by two; 4, 5: inputs; 6, 7: weights.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  TileShapes(int upper, int lower) {
    const int tile_rows[8] = {upper, upper, lower, lower, upper, lower, kTileSide, kTileSide};
    for (int i = 0; i < 8; ++i) {
      rows[i] = static_cast<uint8_t>(tile_rows[i]);
      row_bytes[i] = tile_rows[i] > 0 ? kRowBytes : 0;
    }
  }
};

// The intrinsics of GCC 12 do not say that tiles are read from memory and written to it.
inline void memory_fence() { asm volatile("" ::: "memory"); }

// Up to 2 * kTileSide input rows; kTwo: more than kTileSide. Tiles are configured for them.
template <bool kTwo>
inline void multiply_group(const PairProduct& p, int64_t first, const Ahead* ahead) {
  constexpr int64_t kSumsStride = kTileWidth * sizeof(float);
  float* sums = p.sums + first * kTileWidth;
  float* lower_sums = sums + kTileSide * kTileWidth;
  const std::byte* x = p.x + first * p.x_stride;
  const std::byte* lower_x = x + kTileSide * p.x_stride;
  _tile_loadd(0, sums, kSumsStride);
  _tile_loadd(1, sums + kTileSide, kSumsStride);
  if constexpr (kTwo) {
    _tile_loadd(2, lower_sums, kSumsStride);
    _tile_loadd(3, lower_sums + kTileSide, kSumsStride);
  }
  for (int64_t pair = 0; pair < p.pairs; pair += kPairsOfStep) {
    if (ahead != nullptr) {
      for (int64_t i = 0; i < kPairsOfStep; ++i) ahead->touch(pair + i);
    }
    const float* w = p.w + pair * kTileWidth;
    _tile_loadd(6, w, kSumsStride);
    _tile_loadd(7, w + kTileSide, kSumsStride);
    _tile_loadd(4, x + pair * 4, p.x_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kTwo) {
      _tile_loadd(5, lower_x + pair * 4, p.x_stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, kSumsStride);
  _tile_stored(1, sums + kTileSide, kSumsStride);
  if constexpr (kTwo) {
    _tile_stored(2, lower_sums, kSumsStride);
    _tile_stored(3, lower_sums + kTileSide, kSumsStride);
  }
}

struct TilePairs {
  __attribute__((noinline)) static void multiply(const PairProduct& product, int64_t rows,
                                                 const Ahead& ahead) {
    int64_t configured = 0;
    for (int64_t i = 0; i < rows; i += 2 * kTileSide) {
      const int64_t group = at_most(rows - i, 2 * kTileSide);
      const bool two = group > kTileSide;
      const TileShapes shapes(static_cast<int>(at_most(group, kTileSide)),
                              static_cast<int>(two ? group - kTileSide : 0));
      memory_fence();
      if (group != configured) _tile_loadconfig(&shapes);
      configured = group;
      const Ahead* wanted = i == 0 ? &ahead : nullptr;
      if (two) {
        multiply_group<true>(product, i, wanted);
      } else {
        multiply_group<false>(product, i, wanted);
      }
      memory_fence();
    }
    _tile_release();
  }
};

void gemm(const GemmParams& p, const KernelContext& context) {
  if (p.input.kind != InputKind::bf16) return gemm_avx512(p, context);
  run_gemm(GemmBf16<TilePairs>{weight_view(p.format, p.k)}, p, context);
}

}  // namespace
}  // namespace avx512amx_kernels

void overlay_avx512amx(KernelTable& table) { table.gemm = avx512amx_kernels::gemm; }

}  // namespace penstock
