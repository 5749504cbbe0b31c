// bf16 weights against bf16 inputs by dot products of pairs of k: weights as a tile [depth /
// 2][kTileWidth] of pairs. The ISA gives dot_pairs(sum, weights, pair).

struct LoadPairs {
  static constexpr int64_t kBytes = 2, kWide = 2;
  static vf load(const std::byte* p) { return LoadF32::load(p); }
};

struct PairProduct {
  const float* w;
  const std::byte* x;
  int64_t x_stride;  // bytes
  int64_t pairs;
  float* sums;
};

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

struct GemmBf16 {
  WeightView view;

  int64_t depth() const { return 2 * kDepth; }
  void begin(const Chunk&) const {}

  void tile(const Chunk& c, const TileRows& rows, const NextTile& next, float* sums) const {
    float* weights = static_cast<float*>(static_cast<void*>(c.scratch.tile));
    fill_raw<LoadPairs>(rows, view.row_bytes, c.k_begin, c.depth(), weights);
    const PairProduct product{weights, c.input_row(0) + c.k_begin * 2, c.p.input.stride_bytes,
                              blocks_of(c.depth(), 2), sums};
    const Ahead ahead(next, view.row_bytes, LoadPairs::kBytes, LoadPairs::kWide);
    for_row_groups<kMaxRows>(c.rows(), [&]<int kRows>(RowCount<kRows>, int64_t i) {
      if (i == 0) {
        multiply_pairs<kRows, true>(product, i, ahead);
      } else {
        multiply_pairs<kRows, false>(product, i, ahead);
      }
    });
  }
};
