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

// bf16 weights against bf16 inputs, from compute capability 8.0 on.
struct GemmBf16Kernel {
  static constexpr int kStep = 64;                    // k that are staged at once
  static constexpr int64_t kStride = kStep * 2 + 16;  // bytes of a staged row
  static constexpr size_t kShared = (kBlockRows + kBlockInputs) * kStride;

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const GemmArgs& args) const {
    const GemmBlock block(args, on.block());
    const int lane = on.thread() % kWarp;
    const std::byte* weights = on.shared() + on.thread() / kWarp * kTileRows * kStride;
    const std::byte* inputs = on.shared() + kBlockRows * kStride;
    Fragment<float> sums[kColumnTiles];
    for (int64_t first = 0; first < args.params.k; first += kStep) {
      on.sync();
      stage(on, args, block, first);
      on.sync();
      for (int k = 0; k < kStep; k += 16) {
        const FragmentA a = fragment_a(weights + k * 2, lane);
        PENSTOCK_UNROLL
        for (int tile = 0; tile < kColumnTiles; ++tile) {
          if (tile < block.column_tiles())
            on.multiply_bf16(sums[tile], a, fragment_b(inputs + k * 2, tile, lane));
        }
      }
    }
    float all[kColumnTiles][4];
    PENSTOCK_UNROLL
    for (int tile = 0; tile < kColumnTiles; ++tile) {
      PENSTOCK_UNROLL
      for (int i = 0; i < 4; ++i) all[tile][i] = sums[tile].sums[i];
    }
    finish_tiles(args.params, block, on.thread(), all);
  }

 private:
  PENSTOCK_DEVICE static FragmentA fragment_a(const std::byte* k, int lane) {
    FragmentA a;
    for (int i = 0; i < 4; ++i) {
      const PlaceA place = place_a(lane, i);
      a.words[i] = load_word(k + place.row * kStride + place.word * 4);
    }
    return a;
  }
  PENSTOCK_DEVICE static FragmentB fragment_b(const std::byte* k, int tile, int lane) {
    FragmentB b;
    for (int i = 0; i < 2; ++i) {
      const PlaceB place = place_b(lane, i);
      b.words[i] = load_word(k + (tile * 8 + place.column) * kStride + place.word * 4);
    }
    return b;
  }

  // Weight rows, then input rows; zeros where there is nothing. Weights are only as aligned as
  // their elements.
  template <class Thread>
  PENSTOCK_DEVICE static void stage(const Thread& on, const GemmArgs& args, const GemmBlock& block,
                                    int64_t first) {
    const GemmParams& p = args.params;
    constexpr int kAll = (kBlockRows + kBlockInputs) * kStep;
    for (int at = on.thread(); at < kAll; at += on.threads()) {
      const int64_t row = at / kStep, k = first + at % kStep, input = row - kBlockRows;
      uint16_t value = 0;
      if (k < p.k && row < block.rows) {
        value = load<uint16_t>(block.panel->data + (block.row + row) * args.view.row_bytes + k * 2);
      } else if (k < p.k && input >= 0 && input < block.inputs) {
        value = load<uint16_t>(p.x + (block.input + input) * p.input.stride_bytes + k * 2);
      }
      store(on.shared() + row * kStride + at % kStep * 2, value);
    }
  }
};

}  // namespace penstock::cuda
