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

// The weight rows of a tile, and their codes from the chunk's first k on: where they are stored, or
// widened.
struct CodeTiles {
  PackedRows rows[kRowVectors];
  const std::byte* codes[kRowVectors];
};

// Two nibbles a byte become two rows of bytes; a vector holds all rows of a tile.
inline void widen_nibbles(const std::byte* codes, int64_t depth, std::byte* out) {
  constexpr int64_t kRowBytes = kTileRows * 4;
  for (int64_t k = 0; k < depth; k += 8, codes += kRowBytes, out += 2 * kRowBytes) {
    const Codes word = vload_codes(codes);
    vstore_codes(out, low_nibbles(word));
    vstore_codes(out + kRowBytes, high_nibbles(word));
  }
}

// The next tile's codes, asked for a part at each of `turns` turns.
class AheadCodes {
 public:
  template <class Gemm>
  AheadCodes(const Gemm& gemm, const NextTile& next, int64_t turns) {
    const int64_t wanted = gemm.depth() * kTileRows * gemm.view.bits / 8;
    for (int v = 0; v < kRowVectors; v += kVectors) {
      const PackedRows packed = packed_rows(gemm.view, next.rows, v);
      const int64_t begin = gemm.view.codes_offset + next.k_begin * kTileRows * gemm.view.bits / 8;
      codes_[v / kVectors] = packed.tile + begin;
      bytes_ = at_most(wanted, gemm.view.tile_bytes - begin);
    }
    step_ = blocks_of(blocks_of(bytes_, turns), 64) * 64;
  }
  void touch(int64_t turn) const {
    const int64_t end = at_most(bytes_, (turn + 1) * step_);
    for (int64_t at = turn * step_; at < end; at += 64) {
      for (const std::byte* codes : codes_) __builtin_prefetch(codes + at, 0, 2);
    }
  }

 private:
  static constexpr int kVectors = kTileRows / kLanes;  // of a tile of codes
  static constexpr int kTiles = kRowVectors > kVectors ? kRowVectors / kVectors : 1;
  const std::byte* codes_[kTiles];
  int64_t bytes_ = 0, step_ = 0;
};

template <int kBits>
struct GemmInt {
  WeightView view;

  int64_t depth() const { return 512; }
  void begin(const Chunk&) const {}

  void tile(const Chunk& c, const TileRows& rows, const NextTile& next, float* sums) const {
    const bool wide = kBits == 4 && kWideCodes && c.rows() > kMaxIntRows;
    const CodeTiles codes = code_tiles(c, rows, wide);
    if constexpr (kBits == 4 && kWideCodes) {
      if (wide) return multiply<8>(c, codes, next, sums);
    }
    multiply<kBits>(c, codes, next, sums);
  }

  // wide: with a code a byte, in scratch if they are not stored so.
  CodeTiles code_tiles(const Chunk& c, const TileRows& rows, bool wide) const {
    const int64_t block = c.p.input.block;
    const int64_t depth = (blocks_of(c.k_end, block) - c.k_begin / block) * block;
    CodeTiles codes{};
    for (int v = 0; v < kRowVectors; ++v) {
      const PackedRows packed = codes.rows[v] = packed_rows(view, rows, v);
      codes.codes[v] =
          packed.tile + view.codes_offset + packed.first * 4 + c.k_begin * kTileRows * kBits / 8;
      if (!wide || kBits == 8) continue;
      std::byte* out = c.scratch.tile + v * depth * kTileRows;
      widen_nibbles(codes.codes[v], depth, out);
      codes.codes[v] = out;
    }
    return codes;
  }

  // The block of K that begins at `k`, whose codes begin `offset` bytes behind the chunk's.
  WeightBlock weight_block(const CodeTiles& tiles, int64_t k, int64_t offset) const {
    WeightBlock w;
    const int64_t group = k / view.group;
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      w.codes[v] = tiles.codes[v] + offset;
      w.scales[v] = packed_scales(tiles.rows[v], group);
      w.offsets[v] = offsets_for(packed_zeros(view, tiles.rows[v], group));
    }
    return w;
  }

 private:
  template <int kCodeBits>
  void multiply(const Chunk& c, const CodeTiles& codes, const NextTile& next, float* sums) const {
    const PreparedLayout& input = c.p.input;
    const int64_t first = c.k_begin / input.block, last = blocks_of(c.k_end, input.block);
    const AheadCodes ahead(*this, next, (last - first) * blocks_of(c.rows(), kMaxIntRows));
    const bool few = c.rows() <= kMaxIntRows / 2;  // memory decides; hardware fetches ahead
    int64_t turn = 0;
    for_row_groups<kMaxIntRows>(c.rows(), [&]<int kRows>(RowCount<kRows>, int64_t i) {
      for (int64_t b = first; b < last; ++b, ++turn) {
        if (!few) ahead.touch(turn);
        const WeightBlock w = weight_block(codes, b * input.block,
                                           (b - first) * input.block * kTileRows * kCodeBits / 8);
        multiply_block<kRows, kCodeBits>(w, c.input_row(i), input, b, sums + i * kTileWidth);
      }
    });
  }
};
