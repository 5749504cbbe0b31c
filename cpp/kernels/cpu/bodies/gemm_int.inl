// Quantised weights against int8 inputs: exact 32-bit dot products inside one block of K, then
// sums += (input scale * weight scale) * (dot - zero * sum of input codes), blocks ascending.

inline int32_t four_codes(const std::byte* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return four;
}

// What one K block of one weight tile brings.
struct WeightBlock {
  const std::byte* codes[kRowVectors];
  vf scales[kRowVectors];
  vi offsets[kRowVectors];
};

// One K block for kRows input rows. Everything lives in registers, so it is one function that is
// never inlined.
template <int kRows, int kBits>
__attribute__((noinline)) void multiply_block(const WeightBlock& w, const std::byte* x,
                                              const PreparedLayout& input, int64_t block,
                                              float* sums) {
  constexpr int kWord = kBits == 8 ? 4 : 8;
  const int64_t stride = input.stride_bytes;
  const std::byte* scales_at = x + input.scales_offset + block * 4;
  Dots dots[kRows][kRowVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const int32_t code_sum = four_codes(scales_at + i * stride + input.blocks * 4);
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) dots[i][v] = offset_term(w.offsets[v], code_sum);
  }
  const std::byte* codes_at[kRowVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kRowVectors; ++v) codes_at[v] = w.codes[v];
  const std::byte* at = x + block * input.block;
  for (const std::byte* end = at + input.block; at < end; at += kWord) {
    Codes codes[kRowVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      codes[v] = vload_codes(codes_at[v]);
      codes_at[v] += kTileRows * 4;
    }
    if constexpr (kBits == 8) {
      Weights8 weights[kRowVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) weights[v] = weights8(codes[v]);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Inputs8 inputs = inputs8(four_codes(at + i * stride));
#pragma GCC unroll 4
        for (int v = 0; v < kRowVectors; ++v) dots[i][v] = dot8(dots[i][v], weights[v], inputs);
      }
    } else {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        Codes weights[kRowVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kRowVectors; ++v) {
          weights[v] = half == 0 ? low_nibbles(codes[v]) : high_nibbles(codes[v]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i) {
          const Inputs4 inputs = inputs4(four_codes(at + i * stride + half * 4));
#pragma GCC unroll 4
          for (int v = 0; v < kRowVectors; ++v) dots[i][v] = dot4(dots[i][v], weights[v], inputs);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    float scale;
    __builtin_memcpy(&scale, scales_at + i * stride, 4);
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      float* sum = sums + i * kTileWidth + v * kLanes;
      vstore(sum, vfma(vmul(vset(scale), w.scales[v]), dots_to_float(dots[i][v]), vload(sum)));
    }
  }
}

template <int kBits>
struct GemmInt {
  WeightView view;

  int64_t depth() const { return 1024; }
  void begin(const Chunk&) const {}

  void tile(const Chunk& c, const TileRows& rows, const NextTile&, float* sums) const {
    const PreparedLayout& input = c.p.input;
    PackedRows packed[kRowVectors];
    for (int v = 0; v < kRowVectors; ++v) packed[v] = packed_rows(view, rows, v);
    const int64_t last = blocks_of(c.k_end, input.block);
    for_row_groups<kMaxIntRows>(c.rows(), [&]<int kRows>(RowCount<kRows>, int64_t i) {
      for (int64_t b = c.k_begin / input.block; b < last; ++b) {
        const WeightBlock w = weight_block(packed, b * input.block);
        multiply_block<kRows, kBits>(w, c.input_row(i), input, b, sums + i * kTileWidth);
      }
    });
  }

  WeightBlock weight_block(const PackedRows (&packed)[kRowVectors], int64_t k) const {
    WeightBlock w;
    const int64_t group = k / view.group;
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      w.codes[v] =
          packed[v].tile + view.codes_offset + packed[v].first * 4 + k * kTileRows * kBits / 8;
      w.scales[v] = packed_scales(packed[v], group);
      w.offsets[v] = offsets_for(packed_zeros(view, packed[v], group));
    }
    return w;
  }
};
