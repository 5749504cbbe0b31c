// Quantised weights as bf16 rows in memory: bf16(scale * (code - zero)), rounded to nearest even.
//
// A warp takes 64 k of a tile (tensor/format.h): a lane 8 k of 4 neighbouring rows, 16 bytes a row.
// So loads of codes are whole runs of 512 bytes, and stores whole lines of 128.
#pragma once

#include "kernels/cuda/gemm.h"

namespace penstock::cuda {

inline constexpr int kDequantiseThreads = 256;
inline constexpr int kLaneK = 8, kLaneRows = 4;  // that a lane takes
inline constexpr int kWarpK = kWarp / (kTileRows / kLaneRows) * kLaneK;

// Where a lane is in 64 k of a tile.
struct LanePlace {
  int row, k;
};
constexpr LanePlace dequantise_place(int lane) {
  constexpr int kAcross = kTileRows / kLaneRows;
  return {lane % kAcross * kLaneRows, lane / kAcross * kLaneK};
}

struct DequantiseArgs {
  WeightView view;
  int64_t k = 0;  // a multiple of 8
  const std::byte* tiles = nullptr;
  int64_t rows = 0;         // from the first row of the first tile on
  std::byte* to = nullptr;  // [rows][k], 16-byte aligned
};
constexpr int64_t dequantise_warps(int64_t rows, int64_t k) {
  return blocks_of(rows, kTileRows) * blocks_of(k, kWarpK);
}

template <int kBits>
struct DequantiseKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const DequantiseArgs& args) const {
    const int64_t parts = blocks_of(args.k, kWarpK);
    const int64_t warp = on.block() * (on.threads() / kWarp) + on.thread() / kWarp;
    if (warp >= dequantise_warps(args.rows, args.k)) return;
    const LanePlace at = dequantise_place(on.thread() % kWarp);
    const int64_t row = warp / parts * kTileRows + at.row, k = warp % parts * kWarpK + at.k;
    if (k >= args.k || row >= args.rows) return;
    const WeightView& view = args.view;
    const std::byte* tile = args.tiles + warp / parts * view.tile_bytes;
    const int64_t group = k / view.group;
    const auto scales = load<PairOfWords>(tile + (group * kTileRows + at.row) * 2);
    uint32_t zeros = kBits == 4 ? 0x08080808u : 0x80808080u;
    if (view.has_zeros) zeros = load_word(tile + view.zeros_offset + group * kTileRows + at.row);
    constexpr int kWords = kBits * kLaneK / 32;
    Chunk codes[kWords];
    PENSTOCK_UNROLL
    for (int word = 0; word < kWords; ++word) {
      const int64_t index = k / kLaneK * kWords + word;
      codes[word] = load<Chunk>(tile + view.codes_offset + (index * kTileRows + at.row) * 4);
    }
    PENSTOCK_UNROLL
    for (int r = 0; r < kLaneRows; ++r) {
      if (row + r >= args.rows) break;
      const uint32_t both = scales.words[r / 2];
      const float scale = r % 2 == 0 ? low_bf16(both) : high_bf16(both);
      const auto zero = static_cast<int32_t>(zeros >> (8 * r) & 255u);
      Chunk eight;
      PENSTOCK_UNROLL
      for (int i = 0; i < kLaneK; i += 2) {
        eight.words[i / 2] = bf16_pair(scale * static_cast<float>(code(codes, r, i) - zero),
                                       scale * static_cast<float>(code(codes, r, i + 1) - zero));
      }
      store(args.to + ((row + r) * args.k + k) * 2, eight);
    }
  }

 private:
  // Code i of 8 of a lane's row: four a word, or, with 4 bits, low nibbles first.
  template <int kWords>
  PENSTOCK_DEVICE static int32_t code(const Chunk (&codes)[kWords], int row, int i) {
    if constexpr (kBits == 8) {
      return static_cast<int32_t>(codes[i / 4].words[row] >> (8 * (i % 4)) & 255u);
    }
    return static_cast<int32_t>(codes[0].words[row] >> (8 * (i % 4) + i / 4 * 4) & 15u);
  }
};

}  // namespace penstock::cuda
