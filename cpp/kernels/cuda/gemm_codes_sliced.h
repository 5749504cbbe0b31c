// The same products where few blocks are all there are: the warps of a block take the steps of K of
// 32 weight rows in turns ("sliced K"), so that many copies are under way. What is added for a
// block of K, its scale and exact dot product, goes through shared memory to threads that add all
// of it in the order of K, a thread a sum: the same bits.
#pragma once

#include "kernels/cuda/codes_stage.h"

namespace penstock::cuda {

// A turn is a step of every warp. While one turn is multiplied the one before it is added, so that
// a turn has one barrier.
template <int kBits>
struct GemmCodesSlicedKernel {
  using Stage = CodesStage<kBits, 1, 1, true>;
  using Task = typename Stage::Task;
  static constexpr int kThreadSums = kSlicedInputs / 2;  // with two warps

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const CodesArgs& args) const {
    const Task task(on, args);
    Sums sums;
    switch (args.gemm.params.input.block) {
      case 32:
        all_turns<1>(on, args, task, sums);
        break;
      case 64:
        all_turns<2>(on, args, task, sums);
        break;
      default:
        all_turns<4>(on, args, task, sums);
    }
    const GemmBlock block = Stage::block_of(on, args);
    const Fold fold(on);
    PENSTOCK_UNROLL
    for (int i = 0; i < kThreadSums; ++i) {
      finish(args.gemm.params, block, fold.row, fold.input(i), sums.of[i]);
    }
  }

 private:
  // Of weight row `row` of the block and input rows that are as many apart as the block has warps.
  struct Sums {
    float of[kThreadSums] = {};
  };
  struct Fold {
    int row, first, warps;

    template <class Thread>
    PENSTOCK_DEVICE explicit Fold(const Thread& on)
        : row(on.thread_again() % kWarp),
          first(on.thread_again() / kWarp),
          warps(on.threads() / kWarp) {}
    PENSTOCK_DEVICE int input(int i) const { return first + i * warps; }
  };

  template <int kSteps, class Thread>
  PENSTOCK_DEVICE static void all_turns(const Thread& on, const CodesArgs& args, const Task& task,
                                        Sums& sums) {
    const int warps = on.threads() / kWarp, warp = on.thread() / kWarp, stages = args.stages;
    const auto steps = static_cast<int>(blocks_of(args.gemm.params.k, kCodesStep));
    const int turns = static_cast<int>(blocks_of(steps, warps));
    for (int ahead = 0; ahead < stages - 1; ++ahead) {
      const int step = ahead * warps + warp;
      if (step < steps) Stage::template copy<kSteps>(on, args, task, {step, ahead});
      on.commit_copies();
    }
    int slot = 0;
    for (int turn = 0; turn < turns; ++turn) {
      Stage::wait_for_step(on, stages);
      on.sync();  // copies are there and the turn before is multiplied; all before that is added
      const int next = (turn + stages - 1) * warps + warp;
      if (next < steps) {
        Stage::template copy<kSteps>(on, args, task, {next, slot == 0 ? stages - 1 : slot - 1});
      }
      on.commit_copies();
      const int step = turn * warps + warp;
      if (step < steps) leave<kSteps>(on, args, task, {step, slot});
      if (turn > 0) add<kSteps>(on, args, task, turn - 1, sums);
      if (++slot == stages) slot = 0;
    }
    on.sync();
    add<kSteps>(on, args, task, turns - 1, sums);
  }

  // The addends of a block of K, by its number.
  template <int kSteps, class Thread>
  PENSTOCK_DEVICE static std::byte* addends_of(const Thread& on, const CodesArgs& args,
                                               const Task& task, int block) {
    const int warps = on.threads() / kWarp, two_turns = 2 * warps * (kMostBlocks / kSteps);
    constexpr int kStep = Stage::kInput.bytes + Stage::kPair.bytes;
    return on.shared() + args.stages * warps * kStep +
           block % two_turns * addend_bytes(task.inputs);
  }

  // Multiplies a step.
  template <int kSteps, class Thread>
  PENSTOCK_DEVICE static void leave(const Thread& on, const CodesArgs& args, const Task& task,
                                    typename Stage::Step at) {
    constexpr int kBlocks = kMostBlocks / kSteps;
    std::byte* addends = addends_of<kSteps>(on, args, task, at.step * kBlocks);
    const int lane = on.thread_again() % kWarp, inputs = task.inputs;
    Stage::template multiply<kSteps>(
        on, args, task, at,
        [=](const typename Stage::Where& where, const typename Stage::Addends& of) {
          std::byte* to = addends + where.block * addend_bytes(inputs) + first_row(lane) * 4;
          PENSTOCK_UNROLL
          for (int side = 0; side < 2; ++side) {
            const int input = place_sum(lane, side).column;
            if (input >= inputs) continue;
            Chunk scales, dots;
            PENSTOCK_UNROLL
            for (int r = 0; r < kThreadRows; ++r) {
              scales.words[r] = std::bit_cast<uint32_t>(of.scale(r * 2 + side));
              dots.words[r] = std::bit_cast<uint32_t>(of.dot(r * 2 + side));
            }
            store(to + addend_place(inputs, input, false), scales);
            store(to + addend_place(inputs, input, true), dots);
          }
        });
  }

  // Adds the blocks of K of a turn.
  template <int kSteps, class Thread>
  PENSTOCK_DEVICE static void add(const Thread& on, const CodesArgs& args, const Task& task,
                                  int turn, Sums& sums) {
    const Fold fold(on);
    if (fold.first >= task.inputs) return;
    const int each = fold.warps * (kMostBlocks / kSteps), begin = turn * each;
    const int count = at_most(each, static_cast<int>(args.gemm.params.input.blocks) - begin);
    const int bytes = addend_bytes(task.inputs);
    const std::byte* from = addends_of<kSteps>(on, args, task, begin) + fold.row * 4;
    PENSTOCK_UNROLL
    for (int i = 0; i < kThreadSums; ++i) {
      const int input = fold.input(i);
      if (input >= task.inputs) break;
      const std::byte* scales = from + addend_place(task.inputs, input, false);
      const std::byte* dots = from + addend_place(task.inputs, input, true);
      PENSTOCK_UNROLL_BY(4)
      for (int block = 0; block < count; ++block) {
        sums.of[i] = fmaf(load<float>(scales + block * bytes), load<float>(dots + block * bytes),
                          sums.of[i]);
      }
    }
  }
};

}  // namespace penstock::cuda
