// Quantised weights against int8 inputs: exact 32-bit dot products inside one block of K, then
// sums += (input scale * weight scale) * (dot - zero * sum of input codes), blocks ascending.

// Running dot products begin at the bits of 1.5 * 2^23. As every dot product is below 2^22, the
// bits are then the float that is larger by that, exactly.
constexpr int32_t kDotsBits = 0x4b400000;
constexpr float kDotsBase = 0x1.8p23f;

// Words of codes, a vector from each place; the next ones are `stride` bytes on.
struct CodeWords {
  const std::byte* at[kRowVectors];
  int64_t stride = kTileRows * 4;
};

// What one K block of one weight tile brings.
struct WeightBlock {
  CodeWords codes;
  vf scales[kRowVectors];
  vf zeros[kRowVectors];
};

// One K block of prepared input rows, from some row on.
struct InputBlock {
  const std::byte* codes;
  const std::byte* scales;
  const std::byte* code_sums;
  int64_t stride;

  InputBlock(const std::byte* row, const PreparedLayout& layout, int64_t block)
      : codes(row + block * layout.block),
        scales(row + layout.scales_offset + block * 4),
        code_sums(scales + layout.blocks * 4),
        stride(layout.stride_bytes) {}
  float scale(int64_t i) const { return float_at(scales + i * stride); }
  int32_t code_sum(int64_t i) const { return int_at(code_sums + i * stride); }
};

template <int kRows>
using RowDots = Dots[kRows][kRowVectors];

struct CodeRows {
  const std::byte* first;
  int64_t stride;
};

// The codes of `depth` k against kRows rows of bytes.
template <int kRows, int kBits>
inline void add_dots(const CodeWords& words, const CodeRows& rows, int64_t depth,
                     RowDots<kRows>& dots) {
  constexpr int kWord = kBits == 8 ? 4 : 8;
  const std::byte* codes_at[kRowVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kRowVectors; ++v) codes_at[v] = words.at[v];
  RowPointers<kRows> at(rows.first, rows.stride);
  for (int64_t k = 0; k < depth; k += kWord, at.step(kWord)) {
    Codes codes[kRowVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      codes[v] = vload_codes(codes_at[v]);
      codes_at[v] += words.stride;
    }
    if constexpr (kBits == 8) {
      Weights8 weights[kRowVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) weights[v] = weights8(codes[v]);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Inputs8 inputs = inputs8(int_at(at[i]));
#pragma GCC unroll 4
        for (int v = 0; v < kRowVectors; ++v) dots[i][v] = dot8(dots[i][v], weights[v], inputs);
      }
    } else {
      Codes low[kRowVectors], high[kRowVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) {
        low[v] = low_nibbles(codes[v]);
        high[v] = high_nibbles(codes[v]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Inputs4 x_low = inputs4(int_at(at[i])), x_high = inputs4(int_at(at[i] + 4));
#pragma GCC unroll 4
        for (int v = 0; v < kRowVectors; ++v) {
          dots[i][v] = dot44(dots[i][v], low[v], x_low, high[v], x_high);
        }
      }
    }
  }
}

// sums += (input scale * weight scale) * (dot - zero * sum of input codes). The zeros of 8-bit
// codes are all the same.
template <int kRows, int kBits>
inline void scale_dots(const WeightBlock& w, const InputBlock& x, const RowDots<kRows>& dots,
                       float* sums) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const vf scale = vset(x.scale(i));
    vf code_sum, base;
    if constexpr (kBits == 8) {
      base = vfrom_bits(vset_i(kDotsBits + x.code_sum(i) * kCodeOffset));
    } else {
      code_sum = vto_float(vset_i(x.code_sum(i)));
    }
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      if constexpr (kBits == 4) base = vfma(w.zeros[v], code_sum, vset(kDotsBase));
      float* sum = sums + i * kTileWidth + v * kLanes;
      const vf dot = vsub(vfrom_bits((vi)dots[i][v]), base);
      vstore(sum, vfma(vmul(scale, w.scales[v]), dot, vload(sum)));
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

// What a chunk of the next tile needs: scales and zeros asked for at once, codes a part at each of
// `turns` turns.
class AheadCodes {
 public:
  template <class Gemm>
  AheadCodes(const Gemm& gemm, const NextTile& next, int64_t turns) {
    const int64_t wanted = next.depth() * kTileRows * gemm.view.bits / 8;
    for (int v = 0; v < kRowVectors; v += kVectors) {
      const PackedRows packed = packed_rows(gemm.view, next.rows, v);
      const int64_t begin = gemm.view.codes_offset + next.k_begin * kTileRows * gemm.view.bits / 8;
      codes_[v / kVectors] = packed.tile + begin;
      bytes_ = at_most(wanted, gemm.view.tile_bytes - begin);
      ask(packed.tile, gemm.view, next);
    }
    step_ = blocks_of(blocks_of(bytes_, turns), 64) * 64;
  }
  void touch() {
    for (const int64_t end = at_most(bytes_, next_ + step_); next_ < end; next_ += 64) {
      for (const std::byte* codes : codes_) __builtin_prefetch(codes + next_, 0, 2);
    }
  }

 private:
  static void ask(const std::byte* tile, const WeightView& view, const NextTile& next) {
    const int64_t first = next.k_begin / view.group * kTileRows;
    const int64_t end = blocks_of(next.k_end, view.group) * kTileRows;
    for (int64_t at = first * 2; at < end * 2; at += 64) __builtin_prefetch(tile + at, 0, 2);
    if (!view.has_zeros) return;
    const std::byte* zeros = tile + view.zeros_offset;
    for (int64_t at = first; at < end; at += 64) __builtin_prefetch(zeros + at, 0, 2);
  }

  static constexpr int kVectors = kTileRows / kLanes;  // of a tile of codes
  static constexpr int kTiles = kRowVectors > kVectors ? kRowVectors / kVectors : 1;
  const std::byte* codes_[kTiles];
  int64_t bytes_ = 0, step_ = 0, next_ = 0;
};

template <int kBits>
struct GemmInt;

// A weight tile with the codes as they are multiplied, for a chunk of K.
template <int kBits>
struct IntTile {
  const GemmInt<kBits>& gemm;
  const Chunk& chunk;
  const CodeTiles& codes;
  float* sums;
};

// Input rows first + [0, kRows). Dot products live in registers, so it is one function that is
// never inlined.
template <int kRows, int kCodeBits, int kBits>
__attribute__((noinline)) void multiply_blocks(const IntTile<kBits>& tile, int64_t first,
                                               AheadCodes& ahead) {
  const PreparedLayout& input = tile.chunk.p.input;
  const std::byte* row = tile.chunk.input_row(first);
  float* sums = tile.sums + first * kTileWidth;
  const int64_t k_end = tile.chunk.k_end;
  int64_t codes = 0;
  for (int64_t k = tile.chunk.k_begin; k < k_end; k += input.block) {
    ahead.touch();
    const WeightBlock w = tile.gemm.weight_block(tile.codes, k, codes);
    const InputBlock x(row, input, k / input.block);
    codes += input.block * kTileRows * kCodeBits / 8;
    RowDots<kRows> dots;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) dots[i][v] = (Dots)vset_i(kDotsBits);
    }
    add_dots<kRows, kCodeBits>(w.codes, {x.codes, x.stride}, input.block, dots);
    scale_dots<kRows, kBits>(w, x, dots, sums);
  }
}

template <int kBits>
struct GemmInt {
  WeightView view;

  // Few input rows: memory is read in longer runs.
  int64_t depth(bool few) const { return few ? 2048 : 512; }
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
      w.codes.at[v] = tiles.codes[v] + offset;
      w.scales[v] = packed_scales(tiles.rows[v], group);
      w.zeros[v] = vto_float(packed_zeros(view, tiles.rows[v], group));
    }
    return w;
  }

 private:
  template <int kCodeBits>
  void multiply(const Chunk& c, const CodeTiles& codes, const NextTile& next, float* sums) const {
    const int64_t blocks = blocks_of(c.depth(), c.p.input.block);
    AheadCodes ahead(*this, next, blocks * blocks_of(c.rows(), kMaxIntRows));
    const IntTile<kBits> tile{*this, c, codes, sums};
    for_row_groups<kMaxIntRows>(c.rows(), [&]<int kRows>(RowCount<kRows>, int64_t i) {
      multiply_blocks<kRows, kCodeBits>(tile, i, ahead);
    });
  }
};
