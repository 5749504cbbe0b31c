// Products of the tile registers of AMX: two by two tiles of sums, so that every tile that is
// loaded is used twice. An element of a tile product depends on its row and column alone.

constexpr int kTileSide = 16;      // rows of a tile, and its columns of 4 bytes
constexpr int kTileRowBytes = 64;  // at most
static_assert(kTileWidth == 2 * kTileSide && kLanes == kTileSide);

// As the processor takes them.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void shape(int tile, int64_t tile_rows, int64_t bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(tile_rows > 0 ? bytes : 0);
  }
};

// Tiles 0 to 3: sums of two by two; 4, 5: inputs; 6, 7: weights. A step of K takes `step_bytes` of
// every input row.
struct TileShapes : TileConfig {
  TileShapes(int64_t group, int step_bytes) {
    const int upper = static_cast<int>(at_most(group, kTileSide));
    const int lower = static_cast<int>(group) - upper;
    for (int i = 0; i < 4; ++i) shape(i, i < 2 ? upper : lower, kTileRowBytes);
    shape(4, upper, step_bytes);
    shape(5, lower, step_bytes);
    shape(6, step_bytes / 4, kTileRowBytes);
    shape(7, step_bytes / 4, kTileRowBytes);
  }
};

// The intrinsics of GCC 12 do not say that tiles are read from memory and written to it.
inline void memory_fence() { asm volatile("" ::: "memory"); }

// f(first row, rows) for input rows in groups of up to two tiles, with tiles configured for them.
template <class F>
inline void for_tile_groups(int64_t rows, int step_bytes, F f) {
  int64_t configured = 0;
  for (int64_t i = 0; i < rows; i += 2 * kTileSide) {
    const int64_t group = at_most(rows - i, 2 * kTileSide);
    const TileShapes shapes(group, step_bytes);
    memory_fence();
    if (group != configured) _tile_loadconfig(&shapes);
    configured = group;
    f(i, group);
    memory_fence();
  }
  _tile_release();
}
