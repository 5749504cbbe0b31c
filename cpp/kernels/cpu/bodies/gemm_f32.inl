// fp32 multiply-adds: weights of any format as a fp32 tile [depth][kTileWidth], inputs fp32 (or
// bf16, widened).

// sums[i][n] += sum over d of x[i][d] * w[d][n], d ascending, one multiply-add per step. Strides in
// floats.
struct Product {
  const float* w;
  int64_t w_stride;
  const float* x;
  int64_t x_stride;
  int64_t depth;
  float* sums;
  int64_t sums_stride;
};

// Rows first + [0, kRows) of a product.
template <int kRows, bool kAhead>
__attribute__((noinline)) void multiply_tile(const Product& p, int64_t first, const Ahead* ahead) {
  const float* w = p.w;
  const float* x = p.x + first * p.x_stride;
  float* sums = p.sums + first * p.sums_stride;
  const int64_t w_stride = p.w_stride, x_stride = p.x_stride, sums_stride = p.sums_stride;
  vf acc[kRows][kRowVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) acc[i][v] = vload(sums + i * sums_stride + v * kLanes);
  }
  for (int64_t d = 0, depth = p.depth; d < depth; ++d) {
    if constexpr (kAhead) ahead->touch(d);
    vf weights[kRowVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) weights[v] = vload(w + d * w_stride + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const vf input = vset(x[i * x_stride + d]);
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) acc[i][v] = vfma(input, weights[v], acc[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) vstore(sums + i * sums_stride + v * kLanes, acc[i][v]);
  }
}

inline void multiply_rows(const Product& p, int64_t rows) {
  for_row_groups<kMaxRows>(rows, [&]<int kRows>(RowCount<kRows>, int64_t i) {
    multiply_tile<kRows, false>(p, i, nullptr);
  });
}

// The first group of rows asks for the next tile meanwhile.
inline void multiply_rows(const Product& p, int64_t rows, const Ahead& ahead) {
  for_row_groups<kMaxRows>(rows, [&]<int kRows>(RowCount<kRows>, int64_t i) {
    if (i == 0) {
      multiply_tile<kRows, true>(p, i, &ahead);
    } else {
      multiply_tile<kRows, false>(p, i, nullptr);
    }
  });
}

// kLanes rows of `depth` raw elements become columns: lane r of out[d / kWide * stride] holds
// element(s) d of row r. Columns past `depth` up to a whole vector are written as zeros.
template <class Load>
inline void transpose_rows(const std::byte* const (&rows)[kLanes], int64_t depth, float* out,
                           int64_t stride) {
  vf v[kLanes];
  constexpr int64_t kStep = kLanes * Load::kWide;
  for (int64_t d = 0; d < depth; d += kStep, out += kLanes * stride) {
    const int64_t left = depth - d;
    if (left >= kStep) {
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) v[i] = Load::load(rows[i] + d * Load::kBytes);
    } else {
      for (int i = 0; i < kLanes; ++i) v[i] = load_part<Load>(rows[i] + d * Load::kBytes, left);
    }
    vtranspose(v);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) vstore(out + i * stride, v[i]);
  }
}

// Rows of a raw panel; missing rows repeat the last one and are never stored.
template <class Load>
inline void fill_raw(const TileRows& rows, int64_t row_bytes, int64_t k_begin, int64_t depth,
                     float* tile) {
  for (int v = 0; v < kRowVectors; ++v) {
    const std::byte* at[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      const int64_t row = rows.begin + at_most(v * kLanes + i, rows.count - 1);
      at[i] = rows.panel + row * row_bytes + k_begin * Load::kBytes;
    }
    transpose_rows<Load>(at, depth, tile + v * kLanes, kTileWidth);
  }
}

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

  int64_t depth() const { return kDepth; }

  void begin(const Chunk& c) const {
    if (!widen) return;
    for (int64_t i = 0; i < c.rows(); ++i) {
      const std::byte* from = c.input_row(i) + c.k_begin * 2;
      float* to = inputs(c) + i * kInputStride;
      for (int64_t d = 0; d < c.depth(); d += kLanes) vstore(to + d, LoadBf16::load(from + d * 2));
    }
  }

  void tile(const Chunk& c, const TileRows& rows, const NextTile& next, float* sums) const {
    float* weights = static_cast<float*>(static_cast<void*>(c.scratch.tile));
    if (view.quantised) {
      fill_packed(view, rows, c.k_begin, c.depth(), weights);
    } else {
      with_loader(view.raw, [&]<class Load>(Load) {
        fill_raw<Load>(rows, view.row_bytes, c.k_begin, c.depth(), weights);
      });
    }
    const float* x = widen ? inputs(c) : input_values(c);
    const int64_t stride = widen ? kInputStride : c.p.input.stride_bytes / 4;
    const Product product{weights, kTileWidth, x, stride, c.depth(), sums, kTileWidth};
    if (view.quantised) return multiply_rows(product, c.rows());
    multiply_rows(product, c.rows(), Ahead(next, view.row_bytes, element_bytes(view.raw)));
  }

 private:
  static constexpr int64_t kInputStride = kDepth + 16;
  static_assert(kRunRows * kInputStride * 4 + kSumsBytes + kTileBytes <= kScratchBytesPerWorker);
  static_assert(size_t{kDepth} * kTileWidth * sizeof(float) <= kTileBytes);

  static float* inputs(const Chunk& c) {
    return static_cast<float*>(static_cast<void*>(c.scratch.inputs));
  }
  static const float* input_values(const Chunk& c) {
    return static_cast<const float*>(static_cast<const void*>(c.input_row(0))) + c.k_begin;
  }
};
