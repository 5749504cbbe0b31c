// bf16 products on tiles: a step is 32 values of k.

constexpr int64_t kPairsOfStep = 16;
constexpr int64_t kStepWork = 64;

// Up to 2 * kTileSide input rows; kTwo: more than kTileSide.
template <bool kTwo>
inline void multiply_pair_tiles(const Product& p, int64_t first, Ahead& ahead) {
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
  for (int64_t pair = 0; pair < p.steps; pair += kPairsOfStep) {
    ahead.touch(kStepWork);
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
  static constexpr bool kStreams = false;
  static int64_t work(const Product& product, int64_t rows) {
    return blocks_of(rows, 2 * kTileSide) * blocks_of(product.steps, kPairsOfStep) * kStepWork;
  }
  __attribute__((noinline)) static void multiply(const Product& product, int64_t rows,
                                                 Ahead& ahead) {
    for_tile_groups(rows, 4 * kPairsOfStep, [&](int64_t i, int64_t group) {
      if (group > kTileSide) {
        multiply_pair_tiles<true>(product, i, ahead);
      } else {
        multiply_pair_tiles<false>(product, i, ahead);
      }
    });
  }
};
