// bf16 weights against bf16 inputs, two k at a time: weights as a tile [depth / 2][kTileWidth] of
// pairs, zeros beyond depth. The ISA gives a type with
//   static void multiply(const Product&, int64_t rows, Ahead&)
// that adds the product to the sums of `rows` input rows and asks for what is ahead meanwhile, and
//   static int64_t work(const Product&, int64_t rows)
// how much work that is. If kStreams, it is an Add that multiplies single columns with the
// same result.

struct LoadPairs {
  static constexpr int64_t kBytes = 2, kWide = 2;
  static vf load(const std::byte* p) { return LoadF32::load(p); }
};

template <class Pairs>
struct GemmBf16 {
  WeightView view;

  int64_t depth(bool) const { return kDepth; }
  void begin(const Chunk&) const {}

  void tile(const Chunk& c, const TileRows& rows, const NextTile& next, float* sums) const {
    float* weights = static_cast<float*>(static_cast<void*>(c.scratch.tile));
    const RawTile<LoadPairs> tile(c, rows, view.row_bytes);
    Ahead ahead = ahead_of(next, view.row_bytes, 2);
    const Product product{.w = weights,
                          .x = c.input_row(0) + c.k_begin * 2,
                          .x_stride = c.p.input.stride_bytes,
                          .steps = blocks_of(c.depth(), 2),
                          .sums = sums};
    if constexpr (Pairs::kStreams) {
      if (c.few())
        return stream_raw<Pairs>(tile, {product.x, product.x_stride}, c.rows(), sums, ahead);
    }
    ahead.spread(tile.fill_work() + Pairs::work(product, c.rows()));
    fill_raw(tile, weights, ahead);
    Pairs::multiply(product, c.rows(), ahead);
  }
};
