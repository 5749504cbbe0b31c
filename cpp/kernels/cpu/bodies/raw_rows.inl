// Raw weights: rows as they lie in a checkpoint, which must become columns of kLanes rows.

// bf16 values that become fp32: two at a time through the transposition, as halves of a lane.
struct LoadBf16Halves {
  static constexpr int64_t kBytes = 2, kWide = 2;
  static vf load(const std::byte* p) { return LoadF32::load(p); }
};
template <class Load>
inline Load columns_of(Load load) {
  return load;
}
inline LoadBf16Halves columns_of(LoadBf16) { return {}; }

// Columns of one k that a column of what was loaded becomes, and column `part` of them.
template <class Load>
constexpr int kParts = 1;
template <>
constexpr int kParts<LoadBf16Halves> = 2;
template <class Load>
inline vf part_of(vf column, int64_t part) {
  if constexpr (kParts<Load> == 1) {
    return column;
  } else {
    const vi bits = vbits(column);
    return vfrom_bits(part == 0 ? vshift_left<16>(bits)
                                : vand_i(bits, vset_i(static_cast<int32_t>(0xffff0000))));
  }
}

// What comes after a tile.
inline Ahead ahead_of(const NextTile& next, int64_t row_bytes, int64_t element_bytes) {
  Ahead ahead(next.depth() * element_bytes);
  const int64_t first = next.k_begin * element_bytes;
  for (int i = 0; i < kTileWidth; ++i) {
    const int64_t row = next.rows.begin + at_most(i, next.rows.count - 1);
    ahead.add(next.rows.panel + row * row_bytes + first);
  }
  return ahead;
}

// A tile of raw rows, from the first k of a chunk on; missing rows repeat the last one.
template <class Load>
class RawTile {
 public:
  static constexpr int64_t kStep = kLanes * Load::kWide;  // k of a block of rows

  RawTile(const Chunk& c, const TileRows& rows, int64_t row_bytes) : depth_(c.depth()) {
    for (int i = 0; i < kTileWidth; ++i) {
      const int64_t row = rows.begin + at_most(i, rows.count - 1);
      rows_[i] = rows.panel + row * row_bytes + c.k_begin * Load::kBytes;
    }
  }
  int64_t depth() const { return depth_; }
  int64_t blocks() const { return blocks_of(depth_, kStep); }  // of one vector of rows
  int64_t fill_work() const { return kRowVectors * blocks() * kTransposeWork; }
  // Columns of block `block` of a vector of rows: lane r of v[d] holds what was loaded of row r at
  // d; zeros past depth.
  void load(int vector, int64_t block, vf (&v)[kLanes]) const {
    const std::byte* const* rows = rows_ + vector * kLanes;
    const int64_t first = block * kStep, left = depth_ - first;
    if (left >= kStep) {
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) v[i] = Load::load(rows[i] + first * Load::kBytes);
    } else {
      for (int i = 0; i < kLanes; ++i) {
        v[i] = load_part<Load>(rows[i] + first * Load::kBytes, left);
      }
    }
    vtranspose(v);
  }

 private:
  const std::byte* rows_[kTileWidth];
  int64_t depth_;
};

// A tile as columns [d][kTileWidth], for many input rows.
template <class Load>
inline void fill_raw(const RawTile<Load>& tile, float* out, Ahead& ahead) {
  for (int v = 0; v < kRowVectors; ++v) {
    float* to = out + v * kLanes;
    for (int64_t block = 0; block < tile.blocks(); ++block) {
      ahead.touch(kTransposeWork);
      vf columns[kLanes];
      tile.load(v, block, columns);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
#pragma GCC unroll 2
        for (int part = 0; part < kParts<Load>; ++part, to += kTileWidth) {
          vstore(to, part_of<Load>(columns[i], part));
        }
      }
    }
  }
}

// Input rows whose steps of K take 4 bytes.
struct InputSteps {
  const std::byte* first;
  int64_t stride;
};

// Few input rows: columns are multiplied as they come and never stored. Vectors of rows take turns,
// since each waits for its own sums.
template <int kRows, class Add, class Load>
__attribute__((noinline)) void stream_rows(const RawTile<Load>& tile, const InputSteps& inputs,
                                           float* sums, Ahead& ahead) {
  constexpr int kSteps = kLanes * kParts<Load>;  // of a block
  const int64_t steps = blocks_of(tile.depth() * kParts<Load>, Load::kWide);
  const std::byte* x = inputs.first;
  vf acc[kRows][kRowVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kRowVectors; ++v) acc[i][v] = vload(sums + i * kTileWidth + v * kLanes);
  }
  for (int64_t block = 0; block < tile.blocks(); ++block, x += kSteps * 4) {
    const int64_t left = steps - block * kSteps;
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      vf columns[kLanes];
      tile.load(v, block, columns);
      const auto add = [&](int64_t step, vf column) {
        for (int i = 0; i < kRows; ++i) {
          acc[i][v] = Add::add(acc[i][v], column, Add::input(x + i * inputs.stride + step * 4));
        }
      };
      if (left >= kSteps) {
#pragma GCC unroll 32
        for (int step = 0; step < kSteps; ++step) {
          if (step % 8 == 0) ahead.touch(8);
          add(step, part_of<Load>(columns[step / kParts<Load>], step % kParts<Load>));
        }
      } else {
        for (int64_t step = 0; step < left; ++step) {
          add(step, part_of<Load>(columns[step / kParts<Load>], step % kParts<Load>));
        }
      }
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kRowVectors; ++v) vstore(sums + i * kTileWidth + v * kLanes, acc[i][v]);
  }
}
template <class Add, class Load>
inline void stream_raw(const RawTile<Load>& tile, const InputSteps& inputs, int64_t rows,
                       float* sums, Ahead& ahead) {
  ahead.spread(blocks_of(rows, 4) * kRowVectors * tile.blocks() * kLanes * kParts<Load>);
  for_row_groups<4>(rows, [&]<int kRows>(RowCount<kRows>, int64_t i) {
    const InputSteps group{inputs.first + i * inputs.stride, inputs.stride};
    stream_rows<kRows, Add>(tile, group, sums + i * kTileWidth, ahead);
  });
}
