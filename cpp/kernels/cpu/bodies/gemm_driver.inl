// The loops of every GEMM: tasks over blocks of weight rows (and runs of input rows), K in chunks,
// tiles of kTileWidth weight rows. A kernel type K gives
//   int64_t depth(bool few)                          K values per chunk, a multiple of kTileK
//   void begin(const Chunk&)                         once per chunk and run of input rows
//   void tile(const Chunk&, const TileRows&, const NextTile&, float*)
//                                                    adds the chunk to sums [rows][kTileWidth]
// Every sum is carried in fp32 from chunk to chunk in ascending k, so cutting K, N or M changes no
// bit.

constexpr int kTileWidth = kLanes * kRowVectors;
constexpr int64_t kBlockWidth = 128;  // most weight rows of a task
constexpr int64_t kRunRows = 512;     // most input rows of a task
// With few input rows the weights come straight from memory and nothing else takes time: then what
// a task reads is asked for ahead but for its first tile, and its blocks are larger.
constexpr int64_t kFewRows = 4;
constexpr int64_t kFewBlockWidth = 2048;
static_assert(kFewRows * kFewBlockWidth <= kRunRows * kBlockWidth);

// Parts of a worker's scratch.
constexpr size_t kSumsBytes = kRunRows * kBlockWidth * sizeof(float);
constexpr size_t kTileBytes = size_t{1} << 18;
struct GemmScratch {
  float* sums;        // [tiles][rows][kTileWidth]
  std::byte* tile;    // kTileBytes
  std::byte* inputs;  // what is left: kRunRows * 512 fp32
};
static_assert(kSumsBytes + kTileBytes + kRunRows * 512 * 4 <= kScratchBytesPerWorker);

inline GemmScratch gemm_scratch(const KernelContext& context, int worker) {
  std::byte* base = context.scratch + static_cast<size_t>(worker) * kScratchBytesPerWorker;
  return {static_cast<float*>(static_cast<void*>(base)), base + kSumsBytes,
          base + kSumsBytes + kTileBytes};
}

// A chunk of K for a run of input rows.
struct Chunk {
  const GemmParams& p;
  GemmScratch scratch;
  int64_t k_begin, k_end;
  int64_t row_begin, row_end;
  int64_t rows() const { return row_end - row_begin; }
  int64_t depth() const { return k_end - k_begin; }
  bool few() const { return rows() <= kFewRows; }
  const std::byte* input_row(int64_t i) const {
    return p.x + (row_begin + i) * p.input.stride_bytes;
  }
};

// Up to kTileWidth weight rows of one panel.
struct TileRows {
  const std::byte* panel;
  int64_t begin;  // in the panel
  int64_t count;
};

// What the task reads after a tile; the last tile names itself.
struct NextTile {
  TileRows rows;
  int64_t k_begin, k_end;
  int64_t depth() const { return k_end - k_begin; }
};

// What was derived from a pointer before is computed again where it is needed, and takes up no
// register meanwhile.
template <class T>
inline void forget(T*& pointer) {
  asm("" : "+r"(pointer));
}

// Where kRows equally distant rows are. Every third pointer is in a register and the others are a
// stride or two from it, which is an addressing mode: twelve pointers do not fit into registers.
template <int kRows>
class RowPointers {
 public:
  RowPointers(const std::byte* first, int64_t stride) : stride_(stride) {
    for (int i = 0; i < kPointers; ++i) at_[i] = first + i * 3 * stride;
  }
  const std::byte* operator[](int i) const { return at_[i / 3] + i % 3 * stride_; }
  void step(int64_t bytes) {
#pragma GCC unroll 4
    for (int i = 0; i < kPointers; ++i) {
      at_[i] += bytes;
      forget(at_[i]);  // else the compiler keeps all of them, in vector registers
    }
  }

 private:
  static constexpr int kPointers = (kRows + 2) / 3;
  const std::byte* at_[kPointers];
  int64_t stride_;
};

template <int kRows>
struct RowCount {
  static constexpr int value = kRows;
};
// f(RowCount<n>, i) over m >= 8 rows in groups as large as each other: of 4, 5 or 6.
constexpr int kEvenRows = 6;
template <class F>
inline void for_even_row_groups(int64_t m, F f) {
  const int64_t groups = blocks_of(m, kEvenRows);
  for (int64_t i = 0, group = 0; group < groups; ++group) {
    const int64_t end = (group + 1) * m / groups;
    switch (end - i) {
      case 6:
        f(RowCount<6>{}, i);
        break;
      case 5:
        f(RowCount<5>{}, i);
        break;
      default:
        f(RowCount<4>{}, i);
    }
    i = end;
  }
}

// f(RowCount<n>, i) over m rows in groups of n = kMost, 8 (if smaller), 4, 2, 1.
template <int kMost, class F>
inline void for_row_groups(int64_t m, F f) {
  int64_t i = 0;
  for (; i + kMost <= m; i += kMost) f(RowCount<kMost>{}, i);
  if constexpr (kMost > 8) {
    if (m - i >= 8) f(RowCount<8>{}, i), i += 8;
  }
  if constexpr (kMost > 4) {
    if (m - i >= 4) f(RowCount<4>{}, i), i += 4;
  }
  if constexpr (kMost > 2) {
    if (m - i >= 2) f(RowCount<2>{}, i), i += 2;
  }
  for (; i < m; ++i) f(RowCount<1>{}, i);
}

// Bias, activation, residual; `n` is the weight row of the tile's first row in the whole weight.
void finish_tile(const GemmParams& p, const float* sums, int64_t row, int64_t n, int64_t count) {
  for (int v = 0; v * kLanes < count; ++v) {
    const int64_t at = n + v * kLanes, left = count - v * kLanes;
    vf x = vload(sums + v * kLanes);
    if (p.bias != nullptr) x = vadd(x, vload_n(p.bias + at, left));
    x = vact(p.act, x);
    if (p.residual != nullptr) {
      x = vadd(x, vload_n(p.residual + row * p.residual_stride + at, left));
    }
    vstore_n(p.y + row * p.y_stride + (at - p.column_origin), x, left);
  }
}

struct BlockRows {
  const WeightPanel* panel;
  int64_t begin, end;  // in the panel
};

// Block `index` when every panel is cut into blocks of `width` rows.
inline BlockRows find_block(const GemmParams& p, int64_t width, int64_t index) {
  for (int i = 0; i < p.panel_count; ++i) {
    const int64_t rows = p.panels[i].row_end - p.panels[i].row_begin;
    const int64_t blocks = blocks_of(rows, width);
    if (index < blocks) {
      return {&p.panels[i], index * width, at_most(rows, (index + 1) * width)};
    }
    index -= blocks;
  }
  return {p.panels, 0, 0};
}

// The order in which a task visits tiles and chunks: tiles inside chunks, in groups of tiles that
// go through all of K.
struct Visit {
  int64_t tiles, group, chunks;
  int64_t tile(int64_t i) const { return i / (group * chunks) * group + i % group; }
  int64_t chunk(int64_t i) const { return i / group % chunks; }
  int64_t count() const { return tiles * chunks; }
};

inline TileRows tile_rows(const BlockRows& block, int64_t tile) {
  const int64_t begin = block.begin + tile * kTileWidth;
  return {block.panel->data, begin, at_most(kTileWidth, block.end - begin)};
}

void finish_block(const Chunk& chunk, const BlockRows& block) {
  const float* sums = chunk.scratch.sums;
  for (int64_t t = 0; t < blocks_of(block.end - block.begin, kTileWidth); ++t) {
    const TileRows rows = tile_rows(block, t);
    for (int64_t i = 0; i < chunk.rows(); ++i, sums += kTileWidth) {
      finish_tile(chunk.p, sums, chunk.row_begin + i, block.panel->row_begin + rows.begin,
                  rows.count);
    }
  }
}

template <class K>
void run_block(K kernel, Chunk chunk, const BlockRows& block) {
  const int64_t k = chunk.p.k, tiles = blocks_of(block.end - block.begin, kTileWidth);
  const int64_t tile_sums = chunk.rows() * kTileWidth;
  __builtin_memset(chunk.scratch.sums, 0, static_cast<size_t>(tiles * tile_sums) * sizeof(float));
  // Few input rows: read each tile's rows to their end before the next tile.
  const int64_t depth = kernel.depth(chunk.few());
  const Visit visit{tiles, chunk.few() ? 1 : tiles, blocks_of(k, depth)};
  for (int64_t i = 0; i < visit.count(); ++i) {
    const int64_t tile = visit.tile(i), next = at_most(i + 1, visit.count() - 1);
    if (i % visit.group == 0) {
      chunk.k_begin = visit.chunk(i) * depth;
      chunk.k_end = at_most(k, chunk.k_begin + depth);
      kernel.begin(chunk);
    }
    const int64_t begin = visit.chunk(next) * depth;
    const NextTile after{tile_rows(block, visit.tile(next)), begin, at_most(k, begin + depth)};
    kernel.tile(chunk, tile_rows(block, tile), after, chunk.scratch.sums + tile * tile_sums);
  }
  finish_block(chunk, block);
}

template <class K>
void run_gemm(const K& kernel, const GemmParams& p, const KernelContext& context) {
  int64_t width = p.m <= kFewRows ? kFewBlockWidth : kBlockWidth, blocks = 0;
  for (; width >= kTileWidth; width /= 2) {  // smaller blocks where there would be too few
    blocks = 0;
    for (int i = 0; i < p.panel_count; ++i) {
      blocks += blocks_of(p.panels[i].row_end - p.panels[i].row_begin, width);
    }
    if (blocks >= 4 * context.parallel.workers || width == kTileWidth) break;
  }
  const int64_t runs = blocks_of(p.m, kRunRows);
  const int64_t run_rows = blocks_of(p.m, at_least(1, runs));
  context.parallel.for_each(blocks * runs, [&](int64_t task, int worker) {
    const int64_t begin = task % runs * run_rows;
    const Chunk chunk{p,     gemm_scratch(context, worker), 0, p.k,
                      begin, at_most(p.m, begin + run_rows)};
    run_block(kernel, chunk, find_block(p, width, task / runs));
  });
}
