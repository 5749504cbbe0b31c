// Weights of 16 bits by inputs of 16 bits on tensor cores: fp16 by fp16 and, where the tensor cores
// know no bf16 (Turing), bf16 weights by fp16 inputs from compute capability 7.5 on, bf16 by bf16
// from 8.0 on.
//
// A block multiplies 128 weight rows (A) by 8, 32, 64 or 128 input rows (B). Steps of 64 k of both
// come to shared memory by asynchronous copies, some steps ahead; a thread reads 16 bytes at a time
// there. Those are 8 neighbours of k: products may take k in any order, as long as both factors do,
// so 8 neighbours each of four lanes are the k of two instructions. Every sum goes through k in the
// same order in every tile, and through the stripes of stripes.h, so the tile and the number of
// input rows make no difference to its bits.
#pragma once

#include "kernels/cuda/fragments.h"
#include "kernels/cuda/stripes.h"

namespace penstock::cuda {

// The tile follows from the input rows: few rows wait for weights, which every tile reads once;
// many rows wait for products, where a large tile reads shared memory less often.
constexpr StripedPlan half_plan(const StripedSize& size, int64_t room) {
  int tiles = 16;
  for (const int fewer : {8, 4, 1}) {
    if (size.m <= fewer * 8) tiles = fewer;
  }
  return striped_plan(size, tiles, room);
}

// Blocks that run side by side share what they read if they form a rectangle. So input blocks come
// in groups, and in a group the blocks of one row block follow each other. Returns the place of
// block `index` of the launch in the order of GemmBlock.
constexpr int64_t grouped_block(int64_t index, int64_t row_blocks, int64_t input_blocks) {
  constexpr int64_t kGroup = 8;
  const int64_t first = index / (kGroup * row_blocks) * kGroup;
  const int64_t inputs = at_most(kGroup, input_blocks - first);
  const int64_t rest = index - first * row_blocks;
  return (first + rest % inputs) * row_blocks + rest / inputs;
}

// Where chunk `chunk` (8 values of k) of a staged row is: rows that the lanes of a quarter of a
// warp read together are in different banks.
constexpr int staged_offset(int row, int chunk) {
  return row * kStripedStep * 2 + (chunk ^ row % 2 * 4) * 16;
}

// Where the sum of a weight row and an input row is on its way to memory: lanes of a warp are in
// different banks when they leave sums (place_sum) and when they take those of one input row.
constexpr int sum_offset(int row, int input) {
  return (input * kStripedRows + (row ^ input / 2 % 4 * 8)) * 4;
}

struct HalfArgs : StripedArgs {
  int stages;  // of copies: GemmHalfKernel::kStages, or 2 where copies are not asynchronous
};

template <DType kWeights, DType kInputs, int kInputRows>
struct GemmHalfKernel {
  static_assert(kWeights == kInputs || (kWeights == DType::bf16 && kInputs == DType::f16));
  // A warp's part of the block.
  static constexpr int kWarpRows = kInputRows <= 32 ? 32 : 64;
  static constexpr int kWarpInputs = at_most(kInputRows, 32);
  static constexpr int kWarpsDown = kStripedRows / kWarpRows;
  static constexpr int kThreads = kWarpsDown * (kInputRows / kWarpInputs) * kWarp;
  static constexpr int kRowTiles = kWarpRows / 16, kColumnTiles = kWarpInputs / 8;
  // A stage: weights, inputs.
  static constexpr int kInputsAt = kStripedRows * kStripedStep * 2;
  static constexpr int kStage = kInputsAt + kInputRows * kStripedStep * 2;
  static constexpr int kStages = kInputRows <= 32 ? 4 : 3;

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const HalfArgs& args) const {
    const Task task(args, on.block());
    Sums sums, total;
    const int ahead = args.stages - 1;
    for (int i = 0; i < ahead; ++i) {
      if (task.begin + i < task.end) copy(on, args, task, task.begin + i, i);
      on.commit_copies();
    }
    int slot = 0, left = static_cast<int>(args.stripes.steps);
    for (int step = task.begin; step < task.end; ++step) {
      if (args.stages == kStages) {
        on.template wait_copies<kStages - 2>();
      } else {
        on.template wait_copies<0>();
      }
      on.sync();  // copies of all threads are there, and nobody reads the slot before this one
      if (step + ahead < task.end) copy(on, args, task, step + ahead, slot == 0 ? ahead : slot - 1);
      on.commit_copies();
      multiply(on, task, slot, sums);
      slot = slot == ahead ? 0 : slot + 1;
      if (--left > 0 && step + 1 < task.end) continue;
      left = static_cast<int>(args.stripes.steps);
      total.add(sums);
    }
    leave(on, args, task, total);
  }

 private:
  // What the block does: steps of K for some rows.
  struct Task : StripedSteps {
    int64_t index;  // of the block, in the order of GemmBlock
    GemmBlock block;
    const std::byte* weights;
    bool aligned;  // every row of the weights, to 16 bytes

    PENSTOCK_DEVICE Task(const HalfArgs& args, int64_t launched)
        : StripedSteps(args, launched),
          index(grouped_block(args.split ? launched / args.stripes.count : launched,
                              args.gemm.row_blocks, blocks_of(args.gemm.params.m, kInputRows))),
          block(args.gemm, index, {kStripedRows, kInputRows}),
          weights(block.panel->data + block.row * args.gemm.view.row_bytes),
          aligned((reinterpret_cast<uintptr_t>(block.panel->data) |
                   static_cast<uintptr_t>(args.gemm.view.row_bytes)) %
                      16 ==
                  0) {}
  };

  struct Sums {
    Fragment<float> of[kRowTiles][kColumnTiles];

    PENSTOCK_DEVICE void add(Sums& stripe) {
      PENSTOCK_UNROLL
      for (int at = 0; at < kRowTiles * kColumnTiles * 4; ++at) {
        float& sum = stripe.of[at / 4 / kColumnTiles][at / 4 % kColumnTiles].sums[at % 4];
        of[at / 4 / kColumnTiles][at / 4 % kColumnTiles].sums[at % 4] += sum;
        sum = 0;
      }
    }
  };

  // The first row of a warp's part, of weights and of inputs.
  PENSTOCK_DEVICE static int first_row(int thread) {
    return thread / kWarp % kWarpsDown * kWarpRows;
  }
  PENSTOCK_DEVICE static int first_input(int thread) {
    return thread / kWarp / kWarpsDown * kWarpInputs;
  }

  // Starts the copies of a step: 8 threads a row. Rows that are not there stay whatever they are:
  // rows of a product do not see each other, and these are never stored.
  template <class Thread>
  PENSTOCK_DEVICE static void copy(const Thread& on, const HalfArgs& args, const Task& task,
                                   int step, int slot) {
    constexpr int kRowChunks = kStripedStep / 8, kRows = kThreads / kRowChunks;
    std::byte* to = on.shared() + slot * kStage;
    const int chunk = on.thread() % kRowChunks, first = on.thread() / kRowChunks;
    const int64_t k = int64_t{step} * kStripedStep + chunk * 8;
    copy_weights(on, args, task, {to, k});
    const PreparedLayout& input = args.gemm.params.input;
    const std::byte* from = args.gemm.params.x + task.block.input * input.stride_bytes + k * 2;
    PENSTOCK_UNROLL
    for (int row = first; row < kInputRows; row += kRows) {
      if (row >= task.block.inputs) break;
      on.copy_async(to + kInputsAt + staged_offset(row, chunk), from + row * input.stride_bytes);
    }
  }

  struct Place {
    std::byte* to;
    int64_t k;  // of the thread's chunk
  };
  // Behind the last k, where inputs are zeros, weights are too.
  template <class Thread>
  PENSTOCK_DEVICE static void copy_weights(const Thread& on, const HalfArgs& args, const Task& task,
                                           Place at) {
    constexpr int kRowChunks = kStripedStep / 8, kRows = kThreads / kRowChunks;
    const int chunk = on.thread() % kRowChunks, first = on.thread() / kRowChunks;
    const int64_t row_bytes = args.gemm.view.row_bytes, left = args.gemm.params.k - at.k;
    const std::byte* from = task.weights + at.k * 2;
    if (task.aligned && left > 0) {
      PENSTOCK_UNROLL
      for (int row = first; row < kStripedRows; row += kRows) {
        if (row >= task.block.rows) break;
        on.copy_async(at.to + staged_offset(row, chunk), from + row * row_bytes);
      }
      return;
    }
    for (int row = first; row < task.block.rows; row += kRows) {
      store(at.to + staged_offset(row, chunk), elements(from + row * row_bytes, left));
    }
  }
  // At most 8 elements, of any alignment of their own.
  PENSTOCK_DEVICE static Chunk elements(const std::byte* from, int64_t count) {
    Chunk chunk{};
    PENSTOCK_UNROLL
    for (int i = 0; i < 8; ++i) {
      if (i >= count) continue;
      chunk.words[i / 2] |= uint32_t{load<uint16_t>(from + i * 2)} << (i % 2 * 16);
    }
    return chunk;
  }

  template <class Thread>
  PENSTOCK_DEVICE static void multiply(const Thread& on, const Task& task, int slot, Sums& sums) {
    const int lane = on.thread() % kWarp;
    const int row = first_row(on.thread()), input = first_input(on.thread());
    if (row >= task.block.rows || input >= task.block.inputs) return;  // the whole warp
    const std::byte* weights = on.shared() + slot * kStage;
    const std::byte* inputs = weights + kInputsAt;
    PENSTOCK_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int chunk = half * 4 + lane % 4;
      FragmentA a[kRowTiles][2];
      PENSTOCK_UNROLL
      for (int tile = 0; tile < kRowTiles; ++tile) {
        fragments(weights, row + tile * 16 + lane / 4, chunk, a[tile]);
      }
      PENSTOCK_UNROLL
      for (int tile = 0; tile < kColumnTiles; ++tile) {
        const auto words = load<Chunk>(inputs + staged_offset(input + tile * 8 + lane / 4, chunk));
        PENSTOCK_UNROLL
        for (int part = 0; part < 2; ++part) {
          const FragmentB b{{words.words[part * 2], words.words[part * 2 + 1]}};
          PENSTOCK_UNROLL
          for (int rows = 0; rows < kRowTiles; ++rows) {
            if constexpr (kInputs == DType::f16) {
              on.multiply_f16(sums.of[rows][tile], a[rows][part], b);
            } else {
              on.multiply_bf16(sums.of[rows][tile], a[rows][part], b);
            }
          }
        }
      }
    }
  }
  // Two fragments of rows `row` and row + 8.
  PENSTOCK_DEVICE static void fragments(const std::byte* weights, int row, int chunk,
                                        FragmentA (&a)[2]) {
    PENSTOCK_UNROLL
    for (int lower = 0; lower < 2; ++lower) {
      const auto words = load<Chunk>(weights + staged_offset(row + lower * 8, chunk));
      PENSTOCK_UNROLL
      for (int i = 0; i < 4; ++i) {
        const uint32_t pair = words.words[i];
        a[i / 2].words[i % 2 * 2 + lower] = kWeights == kInputs ? pair : f16_from_bf16(pair);
      }
    }
  }

  // The result, or the stripe's part of it. Sums go by way of shared memory, so that a warp stores
  // neighbours and the epilogue is in the code once.
  template <class Thread>
  PENSTOCK_DEVICE static void leave(const Thread& on, const HalfArgs& args, const Task& task,
                                    const Sums& sums) {
    static_assert(kStripedRows * kInputRows * 4 <= 2 * kStage);
    on.sync();  // nobody reads the last stage any more
    PENSTOCK_UNROLL
    for (int at = 0; at < kRowTiles * kColumnTiles * 4; ++at) {
      const int tile = at / 4 / kColumnTiles, column = at / 4 % kColumnTiles;
      const PlaceSum place = place_sum(on.thread() % kWarp, at % 4);
      const int row = first_row(on.thread()) + tile * 16 + place.row;
      const int input = first_input(on.thread()) + column * 8 + place.column;
      store(on.shared() + sum_offset(row, input), sums.of[tile][column].sums[at % 4]);
    }
    on.sync();
    const GemmParams& p = args.gemm.params;
    const int64_t first = task.index % args.gemm.row_blocks * kStripedRows;
    const int count = static_cast<int>(task.block.inputs) * kStripedRows;
    for (int at = on.thread(); at < count; at += kThreads) {
      const int row = at % kStripedRows, input = at / kStripedRows;
      const int64_t m = task.block.input + input;
      const auto sum = load<float>(on.shared() + sum_offset(row, input));
      if (args.split) {
        store(args.partial_sum(task.stripe, m, first + row), sum);
      } else {
        finish(p, task.block, row, input, sum * input_scale(p, m));
      }
    }
  }
};

}  // namespace penstock::cuda
