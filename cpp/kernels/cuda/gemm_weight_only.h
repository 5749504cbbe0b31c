// Quantised weights by bf16 inputs on tensor cores, from compute capability 8.0 on: what MARLIN
// does for 16-bit activations, with weights as A and inputs as B.
//
// Weights never leave their codes in memory. In registers a code less its zero point becomes a bf16
// number, which is exact, as are its products with inputs; the scale multiplies the fp32 sum of 32
// products. Nothing is rounded but fp32 sums. Codes, scales and inputs come to shared memory by
// asynchronous copies, several steps ahead; every byte of the weights is read once for up to 64
// input rows.
#pragma once

#include "kernels/cuda/fragments.h"
#include "kernels/cuda/weight_only.h"

namespace penstock::cuda {

struct WeightOnlyArgs : StripedArgs {
  int group_shift;
};

// Two A fragments, of 16 k each, for two of a thread's rows each: [rows][k].
struct WeightFragments {
  FragmentA a[2][2];
};

// Words of 8 codes of 4 bits. `minus` holds, a row, twice -(128 + zero): 128 + code is a bf16
// number with the code in its lowest bits.
template <class Thread>
PENSTOCK_DEVICE inline void widen_codes(const Thread& on, const Chunk& codes,
                                        const uint32_t (&minus)[kThreadRows], WeightFragments& to) {
  constexpr uint32_t kMagic = 0x43434343u;
  PENSTOCK_UNROLL
  for (int r = 0; r < kThreadRows; ++r) {
    PENSTOCK_UNROLL
    for (int part = 0; part < 2; ++part) {
      const uint32_t bytes = codes.words[r] >> (4 * part) & 0x0f0f0f0fu;
      FragmentA& a = to.a[r / 2][part];
      a.words[r % 2] = on.add_bf16(select_bytes(bytes, kMagic, 0x4140u), minus[r]);
      a.words[r % 2 + 2] = on.add_bf16(select_bytes(bytes, kMagic, 0x4342u), minus[r]);
    }
  }
}

// A word of 4 codes of 8 bits, `minus` less: 2^23 + code is an fp32 number, and a difference of up
// to 8 bits has nothing in the low half.
PENSTOCK_DEVICE inline void widen_word(uint32_t codes, float minus, uint32_t& low, uint32_t& high) {
  constexpr uint32_t kMagic = 0x4b000000u;  // 2^23
  uint32_t values[4];
  PENSTOCK_UNROLL
  for (uint32_t i = 0; i < 4; ++i) {
    const float code = std::bit_cast<float>(select_bytes(codes, kMagic, 0x7440u + i));
    values[i] = std::bit_cast<uint32_t>(code - minus);
  }
  low = select_bytes(values[0], values[1], 0x7632u);
  high = select_bytes(values[2], values[3], 0x7632u);
}

template <int kBits, int kTiles>
struct GemmWeightOnlyKernel {
  static constexpr int kInputRows = 8 * kTiles;
  static constexpr int kStages = kTiles <= 2 ? 6 : 4;
  static constexpr int kChunks = kBits / 2;                               // of a thread, a step
  static constexpr int kTileStep = kStripedStep * kTileRows * kBits / 8;  // bytes of a tile's codes
  static constexpr int kBlockTiles = kStripedRows / kTileRows;
  // A stage: codes, scales and zero points of two groups, inputs.
  static constexpr int kScales = kChunks * kWeightOnlyThreads * 16;
  static constexpr int kZeros = kScales + 2 * kStripedRows * 2;
  static constexpr int kInputs = kZeros + 2 * kStripedRows;
  static constexpr int kStage = kInputs + kInputRows * kStripedStep * 2;
  // Halves of a step whose instructions are mixed: with 64 input rows registers are short.
  static constexpr int kHalves = kTiles == kMostTiles ? 1 : 2;
  static constexpr size_t kShared = size_t{kStages} * kStage;

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const WeightOnlyArgs& args) const {
    const Task task(args, on.block());
    Sums sums, total;
    for (int ahead = 0; ahead < kStages - 1; ++ahead) {
      if (task.begin + ahead < task.end) copy(on, args, task, task.begin + ahead, ahead);
      on.commit_copies();
    }
    int slot = 0, left = static_cast<int>(args.stripes.steps);
    for (int step = task.begin; step < task.end; ++step) {
      on.template wait_copies<kStages - 2>();
      on.sync();  // copies of all threads are there, and nobody reads the slot before this one
      const int next = step + kStages - 1;
      if (next < task.end) copy(on, args, task, next, slot == 0 ? kStages - 1 : slot - 1);
      on.commit_copies();
      multiply(on, args, step, slot, sums);
      if (++slot == kStages) slot = 0;
      if (--left > 0 && step + 1 < task.end) continue;
      left = static_cast<int>(args.stripes.steps);
      total.add(sums);
    }
    leave(on, args, task, total);
  }

 private:
  // What the block does: steps of K for some rows.
  struct Task : StripedSteps {
    GemmBlock block;

    PENSTOCK_DEVICE Task(const WeightOnlyArgs& args, int64_t index)
        : StripedSteps(args, index),
          block(args.gemm, args.split ? index / args.stripes.count : index,
                {kStripedRows, kInputRows}) {}
    PENSTOCK_DEVICE const std::byte* tile(const WeightOnlyArgs& args, int index) const {
      return block.panel->data + (block.row / kTileRows + index) * args.gemm.view.tile_bytes;
    }
    PENSTOCK_DEVICE bool has_tile(int index) const { return index * kTileRows < block.rows; }
  };

  struct Sums {
    float of[kTiles][2][4] = {};  // [tile][two rows][as a fragment]

    PENSTOCK_DEVICE void add(Sums& stripe) {
      PENSTOCK_UNROLL
      for (int i = 0; i < kTiles * 8; ++i) {
        float& sum = stripe.of[i / 8][i / 4 % 2][i % 4];
        of[i / 8][i / 4 % 2][i % 4] += sum;
        sum = 0;
      }
    }
  };

  // Starts the copies of a step. Rows that are not there stay whatever they are: rows of a product
  // do not see each other, and these are never stored.
  template <class Thread>
  PENSTOCK_DEVICE static void copy(const Thread& on, const WeightOnlyArgs& args, const Task& task,
                                   int step, int slot) {
    std::byte* to = on.shared() + slot * kStage;
    const int thread = on.thread(), lane = thread % kWarp;
    const int own = first_row(thread) / kTileRows;
    if (task.has_tile(own)) {
      const std::byte* codes =
          task.tile(args, own) + args.gemm.view.codes_offset + int64_t{step} * kTileStep;
      PENSTOCK_UNROLL
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        on.copy_async(to + (chunk * kWeightOnlyThreads + thread) * 16,
                      codes + code_offset<kBits>(lane, chunk));
      }
    }
    copy_groups(on, args, task, step, to);
    constexpr int kRowChunks = kStripedStep / 8, kRows = kWeightOnlyThreads / kRowChunks;
    const PreparedLayout& input = args.gemm.params.input;
    const int chunk = thread % kRowChunks;
    PENSTOCK_UNROLL
    for (int row = thread / kRowChunks; row < kInputRows; row += kRows) {
      if (row >= task.block.inputs) break;
      on.copy_async(to + kInputs + input_offset(row, chunk),
                    args.gemm.params.x + (task.block.input + row) * input.stride_bytes +
                        int64_t{step} * kStripedStep * 2 + chunk * 16);
    }
  }

  // Scales and zero points of the one or two groups of a step: 16 chunks and 8 a group. Behind the
  // last group, where inputs are zeros, the last one's serve.
  template <class Thread>
  PENSTOCK_DEVICE static void copy_groups(const Thread& on, const WeightOnlyArgs& args,
                                          const Task& task, int step, std::byte* to) {
    const WeightView& view = args.gemm.view;
    const bool zeros = on.thread() >= 2 * kWarp;
    const int index = on.thread() % (2 * kWarp), each = zeros ? kBlockTiles : 2 * kBlockTiles;
    const int which = index / each, part = index % each, tile = zeros ? part : part / 2;
    const int k = step * kStripedStep, first = k >> args.group_shift;
    const int count = ((k + kHalfStep) >> args.group_shift) - first + 1;
    if (which >= count || !task.has_tile(tile) || (zeros && !view.has_zeros)) return;
    const int last = static_cast<int>(args.gemm.params.k - 1) >> args.group_shift;
    const int group = at_most(first + which, last);
    const std::byte* from = task.tile(args, tile);
    if (zeros) {
      from += view.zeros_offset + int64_t{group} * kTileRows;
      to += kZeros + which * kStripedRows + part * 16;
    } else {
      from += int64_t{group} * kTileRows * 2 + part % 2 * 16;
      to += kScales + which * kStripedRows * 2 + part * 16;
    }
    on.copy_async(to, from);
  }

  template <class Thread>
  PENSTOCK_DEVICE static void multiply(const Thread& on, const WeightOnlyArgs& args, int step,
                                       int slot, Sums& sums) {
    const std::byte* from = on.shared() + slot * kStage;
    const int lane = on.thread() % kWarp, k = step * kStripedStep;
    PENSTOCK_UNROLL_BY(kHalves)
    for (int half = 0; half < 2; ++half) {
      const int group = ((k + half * kHalfStep) >> args.group_shift) - (k >> args.group_shift);
      WeightFragments weights;
      fragments(on, args, from, {half, group}, weights);
      float scales[kThreadRows];
      scales_of(from + kScales + (group * kStripedRows + first_row(on.thread())) * 2, scales);
      PENSTOCK_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        const int row = tile * 8 + place_b(lane, 0).column;
        const auto inputs = load<Chunk>(from + kInputs + input_offset(row, half * 4 + lane % 4));
        const FragmentB b[2] = {{{inputs.words[0], inputs.words[1]}},
                                {{inputs.words[2], inputs.words[3]}}};
        PENSTOCK_UNROLL
        for (int rows = 0; rows < 2; ++rows) {
          Fragment<float> dots;
          on.multiply_bf16(dots, weights.a[rows][0], b[0]);
          on.multiply_bf16(dots, weights.a[rows][1], b[1]);
          PENSTOCK_UNROLL
          for (int i = 0; i < 4; ++i) {
            float& sum = sums.of[tile][rows][i];
            sum = fmaf(scales[rows * 2 + i / 2], dots.sums[i], sum);
          }
        }
      }
    }
  }

  struct Half {
    int half, group;  // of the step
  };
  template <class Thread>
  PENSTOCK_DEVICE static void fragments(const Thread& on, const WeightOnlyArgs& args,
                                        const std::byte* from, Half at, WeightFragments& to) {
    uint32_t zeros = kBits == 4 ? 0x08080808u : 0x80808080u;
    if (args.gemm.view.has_zeros) {
      zeros = load_word(from + kZeros + at.group * kStripedRows + first_row(on.thread()));
    }
    constexpr int kEach = kChunks / 2;
    Chunk codes[kEach];
    PENSTOCK_UNROLL
    for (int i = 0; i < kEach; ++i) {
      codes[i] =
          load<Chunk>(from + ((at.half * kEach + i) * kWeightOnlyThreads + on.thread()) * 16);
    }
    if constexpr (kBits == 4) {
      uint32_t minus[kThreadRows];
      PENSTOCK_UNROLL
      for (uint32_t r = 0; r < kThreadRows; ++r) {
        minus[r] = select_bytes(zeros, 0xc3c3c3c3u, 0x4040u + r * 0x101u);
      }
      widen_codes(on, codes[0], minus, to);
    } else {
      PENSTOCK_UNROLL
      for (uint32_t r = 0; r < kThreadRows; ++r) {
        const float minus = std::bit_cast<float>(select_bytes(zeros, 0x4b000000u, 0x7440u + r));
        PENSTOCK_UNROLL
        for (int part = 0; part < 2; ++part) {
          FragmentA& a = to.a[r / 2][part];
          widen_word(codes[part].words[r], minus, a.words[r % 2], a.words[r % 2 + 2]);
        }
      }
    }
  }
  PENSTOCK_DEVICE static void scales_of(const std::byte* from, float (&scales)[kThreadRows]) {
    for (int i = 0; i < kThreadRows; i += 2) {
      const uint32_t both = load_word(from + i * 2);
      scales[i] = low_bf16(both);
      scales[i + 1] = high_bf16(both);
    }
  }

  // The result, or the stripe's part of it.
  template <class Thread>
  PENSTOCK_DEVICE static void leave(const Thread& on, const WeightOnlyArgs& args, const Task& task,
                                    const Sums& sums) {
    const GemmParams& p = args.gemm.params;
    const int row = first_row(on.thread()), lane = on.thread() % kWarp;
    const int64_t index = on.block() / (args.split ? args.stripes.count : 1);
    const int64_t place = index % args.gemm.row_blocks * kStripedRows + row;
    PENSTOCK_UNROLL
    for (int i = 0; i < kTiles * 2; ++i) {
      const int column = i / 2 * 8 + place_sum(lane, i % 2).column;
      if (column >= task.block.inputs) continue;
      Chunk four;
      for (int r = 0; r < kThreadRows; ++r) {
        const float sum = sums.of[i / 2][r / 2][r % 2 * 2 + i % 2];
        if (!args.split) finish(p, task.block, row + r, column, sum);
        four.words[r] = std::bit_cast<uint32_t>(sum);
      }
      if (!args.split) continue;
      store(args.partial_sum(task.stripe, task.block.input + column, place), four);
    }
  }
};

}  // namespace penstock::cuda
