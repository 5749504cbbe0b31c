// Weights of any format against fp32 inputs (or bf16 ones, widened): a fp32 tile
// [depth][kTileWidth].

// The 16-row tile that vector `v` of a kernel tile lies in, and the vector's first row in it.
// Vectors past the panel's last tile repeat it and are never stored.
struct PackedRows {
  const std::byte* tile;
  int first;
};
inline PackedRows packed_rows(const WeightView& view, const TileRows& rows, int v) {
  const int64_t last = (rows.begin + rows.count - 1) / kTileRows;
  const int64_t row = rows.begin + v * kLanes;
  return {rows.panel + at_most(row / kTileRows, last) * view.tile_bytes,
          static_cast<int>(row % kTileRows)};
}
inline vf packed_scales(const PackedRows& rows, int64_t group) {
  return LoadBf16::load(rows.tile + (group * kTileRows + rows.first) * 2);
}
inline vi packed_zeros(const WeightView& view, const PackedRows& rows, int64_t group) {
  if (!view.has_zeros) return vset_i(1 << (view.bits - 1));
  return vload_u8(rows.tile + view.zeros_offset + group * kTileRows + rows.first);
}

// Four columns from codes whose bytes are four consecutive k.
inline void unpack_columns(Codes codes, vi zeros, vf scales, float* out) {
  const vi byte = vset_i(255);
  const vi columns[4] = {vand_i(codes, byte), vand_i(vshift_right<8>(codes), byte),
                         vand_i(vshift_right<16>(codes), byte), vshift_right<24>(codes)};
  for (int j = 0; j < 4; ++j) {
    vstore(out + j * kTileWidth, vmul(scales, vto_float(vsub_i(columns[j], zeros))));
  }
}

// Quantised codes as exact fp32 values; k_begin is a multiple of kTileK.
inline void fill_packed(const WeightView& view, const TileRows& rows, int64_t k_begin,
                        int64_t depth, float* tile) {
  const int64_t per_word = view.bits == 8 ? 4 : 8;
  for (int v = 0; v < kRowVectors; ++v) {
    const PackedRows packed = packed_rows(view, rows, v);
    const std::byte* codes = packed.tile + view.codes_offset + packed.first * 4;
    float* out = tile + v * kLanes;
    for (int64_t d = 0; d < depth; d += per_word) {
      const int64_t k = k_begin + d, group = k / view.group;
      const vf scales = packed_scales(packed, group);
      const vi zeros = packed_zeros(view, packed, group);
      const Codes word = vload_codes(codes + k / per_word * (kTileRows * 4));
      if (view.bits == 8) {
        unpack_columns(word, zeros, scales, out + d * kTileWidth);
      } else {
        unpack_columns(low_nibbles(word), zeros, scales, out + d * kTileWidth);
        unpack_columns(high_nibbles(word), zeros, scales, out + (d + 4) * kTileWidth);
      }
    }
  }
}

struct GemmF32 {
  WeightView view;
  bool widen;  // inputs are bf16

  // Few input rows: memory is read in longer runs, and no tile is filled.
  int64_t depth(bool few) const { return few && !view.quantised ? kFewDepth : kDepth; }

  void begin(const Chunk& c) const {
    if (!widen) return;
    for (int64_t i = 0; i < c.rows(); ++i) {
      const std::byte* from = c.input_row(i) + c.k_begin * 2;
      float* to = inputs(c) + i * input_stride(c);
      for (int64_t d = 0; d < c.depth(); d += kLanes) vstore(to + d, LoadBf16::load(from + d * 2));
    }
  }

  void tile(const Chunk& c, const TileRows& rows, const NextTile& next, float* sums) const {
    float* weights = static_cast<float*>(static_cast<void*>(c.scratch.tile));
    const float* x = widen ? inputs(c) : input_values(c);
    const int64_t stride = widen ? input_stride(c) : c.p.input.stride_bytes / 4;
    const Product product{
        .w = weights, .x = bytes_of(x), .x_stride = stride * 4, .steps = c.depth(), .sums = sums};
    if (view.quantised) {
      fill_packed(view, rows, c.k_begin, c.depth(), weights);
      return multiply_rows<MultiplyAdd>(product, c.rows());
    }
    const auto multiply = [&]<class Load>(Load) {
      const RawTile<Load> tile(c, rows, view.row_bytes);
      Ahead ahead = ahead_of(next, view.row_bytes, Load::kBytes);
      if (c.few()) {
        return stream_raw<MultiplyAdd>(tile, {product.x, product.x_stride}, c.rows(), sums, ahead);
      }
      ahead.spread(tile.fill_work() + product_work(c.rows(), c.depth()));
      fill_raw(tile, weights, ahead);
      multiply_rows<MultiplyAdd>(product, c.rows(), &ahead);
    };
    with_loader(view.raw, [&](auto load) { multiply(columns_of(load)); });
  }

 private:
  static constexpr int64_t kFewDepth = 2048;
  static int64_t input_stride(const Chunk& c) { return (c.few() ? kFewDepth : kDepth) + 16; }
  static_assert(kFewRows * kFewDepth <= kRunRows * kDepth);
  static_assert(kRunRows * (kDepth + 16) * 4 + kSumsBytes + kTileBytes <= kScratchBytesPerWorker);
  static_assert(size_t{kDepth} * kTileWidth * sizeof(float) <= kTileBytes);

  static float* inputs(const Chunk& c) {
    return static_cast<float*>(static_cast<void*>(c.scratch.inputs));
  }
  static const float* input_values(const Chunk& c) {
    return static_cast<const float*>(static_cast<const void*>(c.input_row(0))) + c.k_begin;
  }
};
