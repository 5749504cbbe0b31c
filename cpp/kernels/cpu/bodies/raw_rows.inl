// Raw weights: rows as they lie in a checkpoint, which must become columns of kLanes rows.

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
  // Columns of block `block` of a vector of rows: lane r of v[d] holds element(s) d of row r; zeros
  // past depth.
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
    for (int64_t block = 0; block < tile.blocks(); ++block, to += kLanes * kTileWidth) {
      ahead.touch(kTransposeWork);
      vf columns[kLanes];
      tile.load(v, block, columns);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) vstore(to + i * kTileWidth, columns[i]);
    }
  }
}

// Input rows whose steps of K take 4 bytes.
struct InputSteps {
  const std::byte* first;
  int64_t stride;
};

// Few input rows: columns are multiplied as they come and never stored.
template <int kRows, class Add, class Load>
__attribute__((noinline)) void stream_rows(const RawTile<Load>& tile, const InputSteps& inputs,
                                           float* sums, Ahead& ahead) {
  const int64_t steps = blocks_of(tile.depth(), Load::kWide);
  for (int v = 0; v < kRowVectors; ++v) {
    const std::byte* x = inputs.first;
    vf acc[kRows];
    for (int i = 0; i < kRows; ++i) acc[i] = vload(sums + i * kTileWidth + v * kLanes);
    for (int64_t block = 0; block < tile.blocks(); ++block, x += kLanes * 4) {
      vf columns[kLanes];
      tile.load(v, block, columns);
      const int64_t left = steps - block * kLanes;
      if (left >= kLanes) {
#pragma GCC unroll 16
        for (int d = 0; d < kLanes; ++d) {
          if (d % 8 == 0) ahead.touch(8);
          for (int i = 0; i < kRows; ++i) {
            acc[i] = Add::add(acc[i], columns[d], Add::input(x + i * inputs.stride + d * 4));
          }
        }
      } else {
        for (int64_t d = 0; d < left; ++d) {
          for (int i = 0; i < kRows; ++i) {
            acc[i] = Add::add(acc[i], columns[d], Add::input(x + i * inputs.stride + d * 4));
          }
        }
      }
    }
    for (int i = 0; i < kRows; ++i) vstore(sums + i * kTileWidth + v * kLanes, acc[i]);
  }
}
template <class Add, class Load>
inline void stream_raw(const RawTile<Load>& tile, const InputSteps& inputs, int64_t rows,
                       float* sums, Ahead& ahead) {
  ahead.spread(blocks_of(rows, 4) * kRowVectors * tile.blocks() * kLanes);
  for_row_groups<4>(rows, [&]<int kRows>(RowCount<kRows>, int64_t i) {
    const InputSteps group{inputs.first + i * inputs.stride, inputs.stride};
    stream_rows<kRows, Add>(tile, group, sums + i * kTileWidth, ahead);
  });
}
