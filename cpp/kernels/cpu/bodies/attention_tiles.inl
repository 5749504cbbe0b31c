// Products of attention on tile registers: up to kTileSide rows by kTileColumns tiles side by side.
// Tiles 0 to 3 hold sums, 4 and 5 queries and keys, 6 and 7 softmax weights and values. An element
// depends on its row and column alone.

constexpr int kTileColumns = 4;
constexpr int64_t kColumnsWidth = kTileColumns * kTileSide;  // keys or elements of head_dim

// The numbers of tiles are parts of these instructions.
template <int kTile>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
template <int kTile>
inline void tile_load(const std::byte* first, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(first), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
inline void tile_store(std::byte* first, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(first), "r"(stride), "i"(kTile) : "memory");
}
// Signed bytes by unsigned ones.
template <int kSums, int kRows, int kColumns>
inline void tile_dot_bytes() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kRows), "i"(kColumns));
}
template <int kSums, int kRows, int kColumns>
inline void tile_dot_pairs() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kRows), "i"(kColumns));
}

// Tiles for `rows` rows, and steps of `value_bytes` of a row of softmax weights, as long as this
// lives. Groups of fewer rows have others below them, which change nothing above.
class AttentionTiles {
 public:
  AttentionTiles(int64_t rows, int64_t value_bytes) {
    TileConfig tiles;
    const int64_t of_rows = at_most(rows, kTileSide);
    for (int i = 0; i < 5; ++i) tiles.shape(i, of_rows, kTileRowBytes);
    tiles.shape(5, kTileSide, kTileRowBytes);
    tiles.shape(6, of_rows, value_bytes);
    tiles.shape(7, value_bytes / 4, kTileRowBytes);
    asm volatile("ldtilecfg %0" ::"m"(tiles));
  }
  ~AttentionTiles() { asm volatile("tilerelease"); }
  AttentionTiles(const AttentionTiles&) = delete;
  AttentionTiles& operator=(const AttentionTiles&) = delete;
};

// Rows that are `stride` bytes apart.
struct StridedRows {
  const std::byte* first;
  int64_t stride;
};

enum class TileUse { keys = 4, values = 6 };
enum class TileDots { bytes, pairs };

constexpr int64_t kColumnWork = 16;

// A product of kColumns tiles of columns. Asks for a few lines at a time: many at once would wait
// for each other.
template <TileDots kDots, TileUse kUse, int kColumns>
struct ColumnProduct {
  StridedRows x;  // a step of K is the next x_step bytes
  int64_t x_step, steps;
  std::byte* sums;  // [rows][columns] of 4 bytes
  int64_t sums_stride;

  // at(step, column): StridedRows of words.
  template <class At>
  void run(At at, Ahead& ahead) const {
    constexpr int kRows = static_cast<int>(kUse), kWords = kRows + 1;
    for_parts<kColumns>([]<int kColumn>(Part<kColumn>) { tile_zero<kColumn>(); });
    for (int64_t step = 0; step < steps; ++step) {
      tile_load<kRows>(x.first + step * x_step, x.stride);
      for_parts<kColumns>([&]<int kColumn>(Part<kColumn>) __attribute__((always_inline)) {
        const StridedRows words = at(step, kColumn);
        ahead.touch(kColumnWork);
        tile_load<kWords>(words.first, words.stride);
        if constexpr (kDots == TileDots::bytes) {
          tile_dot_bytes<kColumn, kRows, kWords>();
        } else {
          tile_dot_pairs<kColumn, kRows, kWords>();
        }
      });
    }
    for_parts<kColumns>([&]<int kColumn>(Part<kColumn>) {
      ahead.touch(kColumnWork);
      tile_store<kColumn>(sums + kColumn * kTileRowBytes, sums_stride);
    });
  }
};

// Of a product of one row group.
inline constexpr int64_t columns_work(int64_t steps) {
  return (steps + 1) * kTileColumns * kColumnWork;
}
