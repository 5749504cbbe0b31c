// Quantised weights against int8 inputs on tiles. The dot products are exact integers and the sums
// are scaled in the order of gemm_int.inl, so both give the same bits.

// Dot products of one K block for up to 2 * kTileSide input rows: [2][kRowVectors] tiles.
template <bool kTwo>
inline void dot_block(const std::byte* const (&codes)[kRowVectors], const std::byte* x,
                      const PreparedLayout& input, int64_t block, int32_t* dots) {
  constexpr int64_t kTileInts = kTileSide * kTileSide;
  const int64_t stride = input.stride_bytes, step = at_most(kTileRowBytes, input.block);
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (kTwo) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t k = 0; k < input.block; k += step) {
    const std::byte* at = x + block * input.block + k;
    _tile_loadd(6, codes[0] + k * 16, kTileRowBytes);
    _tile_loadd(7, codes[1] + k * 16, kTileRowBytes);
    _tile_loadd(4, at, stride);
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    if constexpr (kTwo) {
      _tile_loadd(5, at + kTileSide * stride, stride);
      _tile_dpbsud(2, 5, 6);
      _tile_dpbsud(3, 5, 7);
    }
  }
  _tile_stored(0, dots, kTileRowBytes);
  _tile_stored(1, dots + kTileInts, kTileRowBytes);
  if constexpr (kTwo) {
    _tile_stored(2, dots + 2 * kTileInts, kTileRowBytes);
    _tile_stored(3, dots + 3 * kTileInts, kTileRowBytes);
  }
}

// sums += (input scale * weight scale) * (dot - zero * sum of input codes)
inline void scale_tiles(const WeightScales& w, const InputBlock& x, int64_t rows,
                        const int32_t* dots, float* sums) {
  for (int64_t i = 0; i < rows; ++i) {
    const vf scale = vset(x.scale(i)), code_sum = vset(static_cast<float>(-x.code_sum(i)));
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      const int32_t* at = dots + (i / kTileSide * kRowVectors + v) * kTileSide * kTileSide +
                          i % kTileSide * kTileSide;
      const vf dot = vfma(w.zeros[v], code_sum, _mm512_cvtepi32_ps(_mm512_load_si512(at)));
      float* sum = sums + i * kTileWidth + v * kLanes;
      vstore(sum, vfma(vmul(scale, w.scales[v]), dot, vload(sum)));
    }
  }
}

template <int kBits>
struct GemmIntTiles {
  GemmInt<kBits> plain;

  int64_t depth(bool few) const { return plain.depth(few); }
  void begin(const Chunk&) const {}

  __attribute__((noinline)) void tile(const Chunk& c, const TileRows& rows, const NextTile&,
                                      float* sums) const {
    const PreparedLayout& input = c.p.input;
    const int64_t first = c.k_begin / input.block, last = blocks_of(c.k_end, input.block);
    const CodeTiles codes = plain.code_tiles(c, rows, true);
    const auto step = static_cast<int>(at_most(kTileRowBytes, input.block));
    for_tile_groups(c.rows(), step, [&](int64_t i, int64_t group) {
      const std::byte* x = c.input_row(i);
      for (int64_t b = first; b < last; ++b) {
        const WeightScales w = plain.weight_scales(codes, b * input.block / plain.view.group);
        const int64_t offset = (b - first) * input.block * kTileRows;
        const std::byte* const at[kRowVectors] = {codes.words.at[0] + offset,
                                                  codes.words.at[1] + offset};
        alignas(64) int32_t dots[2 * kRowVectors * kTileSide * kTileSide];
        if (group > kTileSide) {
          dot_block<true>(at, x, input, b, dots);
        } else {
          dot_block<false>(at, x, input, b, dots);
        }
        memory_fence();
        scale_tiles(w, InputBlock(x, input, b), group, dots, sums + i * kTileWidth);
        memory_fence();
      }
    });
  }
};
