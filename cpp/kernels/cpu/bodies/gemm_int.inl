// Quantised weights against int8 inputs: exact 32-bit dot products inside one block of K, then
// sums += (input scale * weight scale) * (dot - zero * sum of input codes), blocks ascending.

// Running dot products begin at the bits of 1.5 * 2^23. As every dot product is below 2^22, the
// bits are then the float that is larger by that, exactly.
constexpr int32_t kDotsBits = 0x4b400000;
constexpr float kDotsBase = 0x1.8p23f;

// Of the weight rows of a tile, in one block of K.
struct WeightScales {
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
  // To the next block, but for its codes.
  void step() {
    scales += 4;
    code_sums += 4;
  }
};

// A block of K: its number and that of its group of weights. Counted, since divisions take long.
struct BlockPlace {
  int64_t block, group;
  int64_t left;        // of K in the group, from the block on
  int64_t group_size;  // of K

  void step(int64_t block_size) {
    ++block;
    for (left -= block_size; left <= 0; left += group_size) ++group;
  }
};

// sums += (input scale * weight scale) * (dot - zero * sum of input codes). The zeros of 8-bit
// codes are all the same.
template <int kRows, int kBits>
inline void scale_dots(const WeightScales& w, const InputBlock& x, const RowDots<kRows>& dots,
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

// The weight rows of a tile, and their codes from the chunk's first k on: where they are stored; or
// widened, and then scales and zeros as floats.
struct CodeTiles {
  PackedRows rows[kRowVectors];
  CodeWords words;
  const float* scales = nullptr;  // [blocks of K][2][kTileWidth], if widened
};

template <int kBits>
constexpr int kWideBits = Widening<kBits>::kCodeBits;

// Words of kBits become two vectors each of half as many values.
template <int kBits>
inline void widen_codes(const std::byte* codes, int64_t depth, std::byte* out) {
  for (int64_t k = 0; k < depth; k += kWordDepth<kBits>, codes += kTileRows * 4) {
    Widening<kBits>::store(out, vload_codes(codes));
    out += 2 * kVectorBytes;
  }
}

// K of a chunk, in whole blocks of the input.
inline int64_t whole_depth(const Chunk& c) {
  const int64_t block = c.p.input.block;
  return (blocks_of(c.k_end, block) - c.k_begin / block) * block;
}

constexpr int64_t kIntDepth = 256;                        // K of a chunk of many input rows
constexpr int64_t kWideInputStride = kIntDepth * 2 + 64;  // bytes of a row of widened inputs
static_assert(kRunRows * kWideInputStride + kSumsBytes + kTileBytes <= kScratchBytesPerWorker);
static_assert(kIntDepth * kTileWidth * (2 + 2 * sizeof(float)) <= kTileBytes);

// Where the inputs of K from `k` on are, of the rows from `first` on.
template <int kCodeBits>
inline CodeRows code_rows(const Chunk& c, int64_t first, int64_t k) {
  if constexpr (kCodeBits == 16) {
    return {c.scratch.inputs + first * kWideInputStride + (k - c.k_begin) * 2, kWideInputStride};
  } else {
    return {c.input_row(first) + k, c.p.input.stride_bytes};
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

inline WeightScales stored_scales(const float* scales) {
  WeightScales w;
#pragma GCC unroll 4
  for (int v = 0; v < kRowVectors; ++v) {
    w.scales[v] = vload(scales + v * kLanes);
    w.zeros[v] = vload(scales + kTileWidth + v * kLanes);
  }
  return w;
}
inline void store_scales(const WeightScales& w, float* scales) {
  for (int v = 0; v < kRowVectors; ++v) {
    vstore(scales + v * kLanes, w.scales[v]);
    vstore(scales + kTileWidth + v * kLanes, w.zeros[v]);
  }
}

// Input rows first + [0, kRows). Dot products live in registers, so it is one function that is
// never inlined.
template <int kRows, int kCodeBits, int kBits>
__attribute__((noinline)) void multiply_blocks(const IntTile<kBits>& tile, int64_t first,
                                               AheadCodes& ahead) {
  const Chunk& chunk = tile.chunk;
  const PreparedLayout& input = chunk.p.input;
  const CodeRows rows = code_rows<kCodeBits>(chunk, first, chunk.k_begin);
  RowPointers<kRows> at(rows.first, rows.stride);
  WordReader words(tile.codes.words);
  BlockPlace place = tile.gemm.first_block(chunk.k_begin, input.block);
  InputBlock x(chunk.input_row(first), input, place.block);
  const float* scales = tile.codes.scales;
  float* sums = tile.sums + first * kTileWidth;
  for (int64_t k = chunk.k_begin; k < chunk.k_end; k += input.block, x.step()) {
    ahead.touch();
    RowDots<kRows> dots;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) dots[i][v] = (Dots)vset_i(kDotsBits);
    }
    add_words<kRows, kCodeBits, kBits>(words, at, input.block, dots);
    if constexpr (kCodeBits == kBits) {
      scale_dots<kRows, kBits>(tile.gemm.weight_scales(tile.codes, place.group), x, dots, sums);
      place.step(input.block);
    } else {
      scale_dots<kRows, kBits>(stored_scales(scales), x, dots, sums);
      scales += 2 * kTileWidth;
    }
  }
}

// The same for nibbles in bytes and blocks of whole narrow sums: the last of these never leave the
// registers.
template <int kRows, int kBits>
__attribute__((noinline)) void multiply_narrow(const IntTile<kBits>& tile, int64_t first,
                                               AheadCodes& ahead) {
  using Narrow = NarrowSums<kBits>;
  constexpr int kWords = Narrow::kMost;
  const Chunk& chunk = tile.chunk;
  const PreparedLayout& input = chunk.p.input;
  const CodeRows rows = code_rows<8>(chunk, first, chunk.k_begin);
  RowPointers<kRows> at(rows.first, rows.stride);
  WordReader words(tile.codes.words);
  InputBlock x(chunk.input_row(first), input, chunk.k_begin / input.block);
  const float* scales = tile.codes.scales;
  float* sums = tile.sums + first * kTileWidth;
  for (int64_t k = chunk.k_begin; k < chunk.k_end; k += input.block, x.step()) {
    ahead.touch();
    RowDots<kRows> dots;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) dots[i][v] = Dots{};
    }
    for (int64_t left = input.block - kNarrowDepth<kBits>; left > 0; left -= kNarrowDepth<kBits>) {
      add_nibble_words<kBits, kRows, 8, kWords>(words, at, dots);
    }
    NarrowDots<kBits, kRows> last;
    keep_in_memory<kRows>(dots);
    narrow_words<kBits, kRows, 8, kWords>(words, at, last);
    keep_in_memory<kRows>(dots);
    const WeightScales w = stored_scales(scales);
    scales += 2 * kTileWidth;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const vf scale = vset(x.scale(i)), code_sum = vto_float(vset_i(-x.code_sum(i)));
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) {
        float* sum = sums + i * kTileWidth + v * kLanes;
        const vf whole = vto_float((vi)Narrow::add_to(dots[i][v], last[i][v]));
        const vf dot = vfma(w.zeros[v], code_sum, whole);
        vstore(sum, vfma(vmul(scale, w.scales[v]), dot, vload(sum)));
      }
    }
  }
}

template <int kBits>
struct GemmInt {
  WeightView view;

  // Few input rows: memory is read in longer runs.
  int64_t depth(bool few) const { return few ? 2048 : kIntDepth; }

  void begin(const Chunk& c) const {
    if constexpr (kWideBits<kBits> == 16) {
      if (!is_wide(c)) return;
      for (int64_t i = 0; i < c.rows(); ++i) {
        const CodeRows from = code_rows<8>(c, i, c.k_begin), to = code_rows<16>(c, i, c.k_begin);
        for (int64_t d = 0; d < whole_depth(c); d += Widening<kBits>::kInputs) {
          Widening<kBits>::widen_inputs(from.first + d, const_cast<std::byte*>(to.first) + 2 * d);
        }
      }
    }
  }

  void tile(const Chunk& c, const TileRows& rows, const NextTile& next, float* sums) const {
    const bool wide = is_wide(c);
    const CodeTiles codes = code_tiles(c, rows, wide);
    if constexpr (kWideBits<kBits> != kBits) {
      if (wide) return multiply<Widening<kBits>::kMost, kWideBits<kBits>>(c, codes, next, sums);
    }
    multiply<kMaxIntRows, kBits>(c, codes, next, sums);
  }

  // wide: widened, in scratch.
  CodeTiles code_tiles(const Chunk& c, const TileRows& rows, bool wide) const {
    const int64_t depth = whole_depth(c);
    CodeTiles codes{};
    for (int v = 0; v < kRowVectors; ++v) {
      const PackedRows packed = codes.rows[v] = packed_rows(view, rows, v);
      const std::byte*& at = codes.words.at[v];
      at = packed.tile + view.codes_offset + packed.first * 4 + c.k_begin * kTileRows * kBits / 8;
      if constexpr (kWideBits<kBits> != kBits) {
        if (!wide) continue;
        std::byte* out = c.scratch.tile + v * depth * kLanes * kWideBits<kBits> / 8;
        widen_codes<kBits>(at, depth, out);
        at = out;
      }
    }
    if (wide && kWideBits<kBits> != kBits) {
      codes.words.stride = kVectorBytes;
      codes.scales = widen_scales(c, codes);
    }
    return codes;
  }

  BlockPlace first_block(int64_t k, int64_t block) const {
    const int64_t group = k / view.group;
    return {k / block, group, (group + 1) * view.group - k, view.group};
  }

  WeightScales weight_scales(const CodeTiles& tiles, int64_t group) const {
    WeightScales w;
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      w.scales[v] = packed_scales(tiles.rows[v], group);
      w.zeros[v] = vto_float(packed_zeros(view, tiles.rows[v], group));
    }
    return w;
  }

 private:
  static bool is_wide(const Chunk& c) {
    if constexpr (kWideBits<kBits> == kBits) {
      return false;
    } else {
      static_assert(Widening<kBits>::kMost != kEvenRows || Widening<kBits>::kFrom >= 8);
      return c.rows() >= Widening<kBits>::kFrom && c.p.input.block % kNarrowDepth<kBits> == 0;
    }
  }

  // Behind the widened codes.
  const float* widen_scales(const Chunk& c, const CodeTiles& tiles) const {
    std::byte* out = c.scratch.tile + whole_depth(c) * kTileWidth * kWideBits<kBits> / 8;
    const int64_t block = c.p.input.block;
    BlockPlace place = first_block(c.k_begin, block);
    float* scales = static_cast<float*>(static_cast<void*>(out));
    float* to = scales;
    for (int64_t k = c.k_begin; k < c.k_end; k += block, place.step(block), to += 2 * kTileWidth) {
      store_scales(weight_scales(tiles, place.group), to);
    }
    return scales;
  }

  template <int kMost, int kCodeBits>
  void multiply(const Chunk& c, const CodeTiles& codes, const NextTile& next, float* sums) const {
    const int64_t blocks = blocks_of(c.depth(), c.p.input.block);
    AheadCodes ahead(*this, next, blocks * blocks_of(c.rows(), kMost));
    const IntTile<kBits> tile{*this, c, codes, sums};
    const auto run = [&]<int kRows>(RowCount<kRows>, int64_t i) {
      if constexpr (kCodeBits == 8 && NarrowSums<kBits>::kMost > 0) {
        multiply_narrow<kRows>(tile, i, ahead);
      } else {
        multiply_blocks<kRows, kCodeBits>(tile, i, ahead);
      }
    };
    if constexpr (kCodeBits != kBits && kMost == kEvenRows) {
      for_even_row_groups(c.rows(), run);
    } else {
      for_row_groups<kMost>(c.rows(), run);
    }
  }
};
