// Codes of 8 or 4 bits against int8 inputs on tensor cores: exact dot products of a block of K,
// then sums += (input scale * weight scale) * (dot - zero * sum of input codes), blocks ascending:
// the bits of the CPU kernels. Steps of K come to shared memory several stages ahead
// (codes_stage.h).
#pragma once

#include "kernels/cuda/codes_stage.h"

namespace penstock::cuda {

// A block goes through K and holds its sums in registers.
template <int kBits, int kPairs, int kTiles>
struct GemmCodesKernel {
  using Stage = CodesStage<kBits, kPairs, kTiles, false>;
  using Task = typename Stage::Task;
  static constexpr int kColumns = Stage::kColumns;
  static constexpr int kPassTiles = kPairs == 2 ? kTiles / 2 : kTiles;

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const CodesArgs& args) const {
    const Task task(on, args);
    Sums sums;
    switch (args.gemm.params.input.block) {
      case 32:
        all_steps<1>(on, args, task, sums);
        break;
      case 64:
        all_steps<2>(on, args, task, sums);
        break;
      default:
        all_steps<4>(on, args, task, sums);
    }
    leave(on, args, sums);
  }

 private:
  struct Sums {
    float of[kTiles][kPairs][2][4] = {};  // [tile][32 rows][two of four rows][as a fragment]
  };

  template <int kSteps, class Thread>
  PENSTOCK_DEVICE static void all_steps(const Thread& on, const CodesArgs& args, const Task& task,
                                        Sums& sums) {
    const auto steps = static_cast<int>(blocks_of(args.gemm.params.k, kCodesStep));
    const int stages = args.stages;
    for (int ahead = 0; ahead < stages - 1; ++ahead) {
      if (ahead < steps) Stage::template copy<kSteps>(on, args, task, {ahead, ahead});
      on.commit_copies();
    }
    int slot = 0;
    for (int step = 0; step < steps; ++step) {
      Stage::wait_for_step(on, stages);
      on.sync();  // copies of all threads are there, and nobody reads the slot before this one
      const int next = step + stages - 1;
      if (next < steps)
        Stage::template copy<kSteps>(on, args, task, {next, slot == 0 ? stages - 1 : slot - 1});
      on.commit_copies();
      Stage::template multiply<kSteps>(
          on, args, task, {step, slot},
          [&sums](const typename Stage::Where& at, const typename Stage::Addends& of) {
            PENSTOCK_UNROLL
            for (int i = 0; i < 8; ++i) {
              float& sum = sums.of[at.tile][at.pair][i / 4][i % 4];
              sum = fmaf(of.scale(i), of.dot(i), sum);
            }
          });
      if (++slot == stages) slot = 0;
    }
  }

  // Stores the sums, through shared memory: a thread those of its weight row, so that a warp's are
  // neighbours.
  template <class Thread>
  PENSTOCK_DEVICE static void leave(const Thread& on, const CodesArgs& args, const Sums& sums) {
    const typename Stage::Place place(on.thread_again());
    const GemmBlock block = Stage::block_of(on, args);  // found anew: it is not kept all the time
    const int width = on.threads() + 4;                 // no bank conflicts
    const int row = place.first_pair() * kPairRows + first_row(place.lane);
    PENSTOCK_UNROLL
    for (int pass = 0; pass < kTiles / kPassTiles; ++pass) {
      on.sync();
      PENSTOCK_UNROLL
      for (int i = 0; i < kPassTiles * kPairs * 2; ++i) {
        const int tile = i / (kPairs * 2), pair = i / 2 % kPairs, side = i % 2;
        const int column =
            (place.warp % kColumns * kPassTiles + tile) * 8 + place_sum(place.lane, side).column;
        Chunk four;
        PENSTOCK_UNROLL
        for (int r = 0; r < kThreadRows; ++r) {
          four.words[r] = std::bit_cast<uint32_t>(
              sums.of[pass * kPassTiles + tile][pair][r / 2][r % 2 * 2 + side]);
        }
        store(on.shared() + (column * width + row + pair * kPairRows) * 4, four);
      }
      on.sync();
      PENSTOCK_UNROLL_BY(1)
      for (int column = 0; column < kPassTiles * 8 * kColumns; ++column) {
        constexpr int kSide = kPassTiles * 8;
        const int input = (column / kSide * kTiles + pass * kPassTiles) * 8 + column % kSide;
        finish(args.gemm.params, block, on.thread(), input,
               load<float>(on.shared() + (column * width + on.thread()) * 4));
      }
    }
  }
};

}  // namespace penstock::cuda
