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

// dots[i][v] += codes of one block x inputs of row i.
template <int kRows, int kBits>
inline void dot_block(const WeightBlock& w, const std::byte* x, int64_t x_stride, int64_t block,
                      vi (&dots)[kRows][kRowVectors]) {
  constexpr int kWord = kBits == 8 ? 4 : 8;
  for (int64_t k = 0; k < block; k += kWord) {
    const int64_t at = k / kWord * (kTileRows * 4);
    if constexpr (kBits == 8) {
      Weights8 weights[kRowVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) weights[v] = weights8(vload_codes(w.codes[v] + at));
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Inputs8 inputs = inputs8(four_codes(x + i * x_stride + k));
#pragma GCC unroll 4
        for (int v = 0; v < kRowVectors; ++v) dots[i][v] = dot8(dots[i][v], weights[v], inputs);
      }
    } else {
      Codes low[kRowVectors], high[kRowVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) {
        const Codes codes = vload_codes(w.codes[v] + at);
        low[v] = low_nibbles(codes);
        high[v] = high_nibbles(codes);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Inputs4 first = inputs4(four_codes(x + i * x_stride + k));
        const Inputs4 second = inputs4(four_codes(x + i * x_stride + k + 4));
#pragma GCC unroll 4
        for (int v = 0; v < kRowVectors; ++v) {
          dots[i][v] = dot4(dot4(dots[i][v], low[v], first), high[v], second);
        }
      }
    }
  }
}

template <int kRows, int kBits>
void multiply_block(const WeightBlock& w, const std::byte* x, const PreparedLayout& input,
                    int64_t block, float* sums) {
  vi dots[kRows][kRowVectors];
  float scales[kRows];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const std::byte* at = x + i * input.stride_bytes + input.scales_offset + block * 4;
    int32_t code_sum;
    __builtin_memcpy(&scales[i], at, 4);
    __builtin_memcpy(&code_sum, at + input.blocks * 4, 4);
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) dots[i][v] = offset_term(w.offsets[v], code_sum);
  }
  dot_block<kRows, kBits>(w, x + block * input.block, input.stride_bytes, input.block, dots);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      float* sum = sums + i * kTileWidth + v * kLanes;
      vstore(sum, vfma(vmul(vset(scales[i]), w.scales[v]), vto_float(dots[i][v]), vload(sum)));
    }
  }
}

template <int kBits>
struct GemmInt {
  WeightView view;

  int64_t depth() const { return 1024; }
  void begin(const Chunk&) const {}

  void tile(const Chunk& c, const TileRows& rows, float* sums) const {
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

 private:
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
