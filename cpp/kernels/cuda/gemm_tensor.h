// Products on tensor cores: a warp has 16 weight rows (A) and kBlockInputs input rows (B), so the
// sums are those of the transposed product. Input rows are staged in shared memory.
#pragma once

#include "kernels/cuda/fragments.h"
#include "kernels/cuda/gemm.h"

namespace penstock::cuda {

inline constexpr int kColumnTiles = kBlockInputs / 8;
inline constexpr int kTensorThreads = kBlockRows / kTileRows * kWarp;

// Stores the sums of a warp.
PENSTOCK_DEVICE inline void finish_tiles(const GemmParams& p, const GemmBlock& block, int thread,
                                         const float (&sums)[kColumnTiles][4]) {
  PENSTOCK_UNROLL
  for (int tile = 0; tile < kColumnTiles; ++tile) {
    PENSTOCK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const PlaceSum place = place_sum(thread % kWarp, i);
      finish(p, block, thread / kWarp * kTileRows + place.row, tile * 8 + place.column,
             sums[tile][i]);
    }
  }
}

// Codes of 8 or 4 bits against int8 inputs: exact dot products of a block of K, then sums += (input
// scale * weight scale) * (dot - zero * sum of input codes), blocks ascending: the bits of the CPU
// kernels. Packed weights are fragments as they lie in memory.
template <int kBits>
struct GemmCodesKernel {
  static constexpr int64_t kStride = 128 + 16;  // bytes of a staged row: no bank conflicts
  static constexpr size_t kShared = kBlockInputs * kStride;

  // The first k, inside 32, of word `word` of a fragment: stored words of 4 bits hold 8 neighbours,
  // low nibbles first, so their halves are words 4 apart.
  static constexpr int k_of(int word) {
    return kBits == 8 ? word * 4 : word % 4 * 8 + word / 4 * 4;
  }

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const GemmArgs& args) const {
    const GemmBlock block(args, on.block());
    const int lane = on.thread() % kWarp;
    const WeightRows weights(args.view, block, on.thread());
    Sums of;
    const PreparedLayout& input = args.params.input;
    for (int64_t at = 0; at < input.blocks; ++at) {
      on.sync();
      stage(on, args.params, block, at);
      on.sync();
      for (Fragment<int32_t>& dots : of.dots) dots = {};
      for (int64_t k = 0; k < input.block; k += 32) {
        const FragmentA a = weights.fragment(lane, at * input.block + k);
        PENSTOCK_UNROLL
        for (int tile = 0; tile < kColumnTiles; ++tile) {
          if (tile < block.column_tiles())
            on.multiply_s8(of.dots[tile], a, staged(on.shared() + k, tile, lane));
        }
      }
      add(args, block, weights, {at, lane}, of);
    }
    finish_tiles(args.params, block, on.thread(), of.sums);
  }

 private:
  struct Sums {
    Fragment<int32_t> dots[kColumnTiles];  // of a block of K
    float sums[kColumnTiles][4] = {};
  };

  // The two rows of a tile that a lane holds. A warp without rows of its own repeats the last tile
  // and stores nothing.
  struct WeightRows {
    PackedRow row[2];

    PENSTOCK_DEVICE WeightRows(const WeightView& view, const GemmBlock& block, int thread)
        : row{at(view, block, thread, 0), at(view, block, thread, 2)} {}
    PENSTOCK_DEVICE FragmentA fragment(int lane, int64_t k) const {
      FragmentA a;
      if constexpr (kBits == 8) {
        for (int i = 0; i < 4; ++i) {  // codes from 0 on become signed
          a.words[i] = row[i % 2].word(k / 4 + place_a(lane, i).word) ^ 0x80808080u;
        }
      } else {
        for (int i = 0; i < 2; ++i) {
          const uint32_t both = row[i].word(k / 8 + lane % 4);
          a.words[i] = both & 0x0f0f0f0fu;
          a.words[i + 2] = both >> 4 & 0x0f0f0f0fu;
        }
      }
      return a;
    }

   private:
    PENSTOCK_DEVICE static PackedRow at(const WeightView& view, const GemmBlock& block, int thread,
                                        int sum) {
      const int64_t last = (block.rows - 1) / kTileRows;
      const int64_t tile = block.row / kTileRows + at_most<int64_t>(thread / kWarp, last);
      return {view, block.panel->data, tile * kTileRows + place_sum(thread % kWarp, sum).row};
    }
  };

  // Codes of a block of K, 4 bytes at a time; rows that are not there are zeros.
  template <class Thread>
  PENSTOCK_DEVICE static void stage(const Thread& on, const GemmParams& p, const GemmBlock& block,
                                    int64_t at) {
    const int64_t words = p.input.block / 4;
    for (int64_t i = on.thread(); i < kBlockInputs * words; i += on.threads()) {
      const int64_t row = i / words, word = i % words;
      uint32_t codes = 0;
      if (row < block.inputs) {
        codes = load_word(p.x + (block.input + row) * p.input.stride_bytes + at * p.input.block +
                          word * 4);
      }
      store(on.shared() + row * kStride + word * 4, codes);
    }
  }
  PENSTOCK_DEVICE static FragmentB staged(const std::byte* k, int tile, int lane) {
    FragmentB b;
    for (int i = 0; i < 2; ++i) {
      const PlaceB place = place_b(lane, i);
      b.words[i] = load_word(k + (tile * 8 + place.column) * kStride + k_of(place.word));
    }
    return b;
  }

  struct At {
    int64_t block;  // of K
    int lane;
  };
  PENSTOCK_DEVICE static void add(const GemmArgs& args, const GemmBlock& block,
                                  const WeightRows& weights, At at, Sums& of) {
    const PreparedLayout& input = args.params.input;
    const int64_t group = at.block * input.block / args.view.group;
    PENSTOCK_UNROLL
    for (int tile = 0; tile < kColumnTiles; ++tile) {
      PENSTOCK_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int64_t column = tile * 8 + place_sum(at.lane, i).column;
        if (column >= block.inputs) continue;
        const std::byte* scales = args.params.x + (block.input + column) * input.stride_bytes +
                                  input.scales_offset + at.block * 4;
        const PackedRow& row = weights.row[i / 2];
        int32_t dot = of.dots[tile].sums[i];
        if (kBits == 4) dot -= row.zero(group) * load<int32_t>(scales + input.blocks * 4);
        const float scale = load<float>(scales) * row.scale(group);
        of.sums[tile][i] = fmaf(scale, static_cast<float>(dot), of.sums[tile][i]);
      }
    }
  }
};

}  // namespace penstock::cuda
