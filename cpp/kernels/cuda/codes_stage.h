// What products of quantised weights with int8 inputs do with a step of K: it comes to shared
// memory by asynchronous copies, and warps multiply a block of K after the other on tensor cores,
// weights as A and inputs as B.
//
// A warp holds its weights of a block of K in registers while it goes through its input rows, so
// that few integer sums are alive at once. They start from kMagic less what the zero point takes
// away: as an fp32 number that is 3 * 2^22 and the dot product, which no instruction has to
// convert. It is below 2^22, so that nothing is rounded.
#pragma once

#include "kernels/cuda/codes.h"
#include "kernels/cuda/fragments.h"

namespace penstock::cuda {

struct CodesArgs {
  GemmArgs gemm;
  int64_t input_blocks;
  int stages;
  int group_shift;
};

// kTiles of 8 input rows by kPairs of 32 weight rows a warp; with two of those there are two warps
// side by side with the same weights. kSliced: every warp of a block has steps of its own, of the
// same 32 weight rows.
template <int kBits, int kPairs, int kTiles, bool kSliced>
struct CodesStage {
  static constexpr int kColumns = kPairs;  // warps with the same weights
  static constexpr int kInputRows = 8 * kTiles * kColumns;
  static constexpr InputPart kInput = input_part(kBits, kInputRows);
  static constexpr PairPart kPair = pair_part(kBits);
  static constexpr int kChunks = kPair.scales / kWarp / 16;  // of a lane, a step
  static constexpr uint32_t kMagic = 0x4b400000u;

  template <class Thread>
  PENSTOCK_DEVICE static GemmBlock block_of(const Thread& on, const CodesArgs& args) {
    const int64_t index = codes_block(on.block(), args.gemm.row_blocks, args.input_blocks);
    return {args.gemm, index, {kSliced ? kPairRows : on.threads(), kInputRows}};
  }

  // The threads that copy a step together: of the block, or of the warp.
  template <class Thread>
  PENSTOCK_DEVICE static int member(const Thread& on) {
    return kSliced ? on.thread_again() % kWarp : on.thread_again();
  }
  template <class Thread>
  PENSTOCK_DEVICE static int members(const Thread& on) {
    return kSliced ? kWarp : on.threads();
  }

  // A thread's part in the products.
  struct Place {
    int lane, warp;

    PENSTOCK_DEVICE explicit Place(int thread) : lane(thread % kWarp), warp(thread / kWarp) {}
    PENSTOCK_DEVICE int first_pair() const { return kSliced ? 0 : warp / kColumns * kPairs; }
    PENSTOCK_DEVICE int first_input() const { return kSliced ? 0 : warp % kColumns * kTiles * 8; }
  };

  // What the block does, in few registers.
  struct Task {
    int rows, inputs;
    const std::byte* tiles;  // of the 32 weight rows that the warp copies
    const std::byte* x;      // the block's first input row

    template <class Thread>
    PENSTOCK_DEVICE Task(const Thread& on, const CodesArgs& args) {
      const GemmBlock block = block_of(on, args);
      rows = static_cast<int>(block.rows);
      inputs = static_cast<int>(block.inputs);
      tiles = block.panel->data +
              (block.row / kTileRows + member(on) / kWarp * 2) * args.gemm.view.tile_bytes;
      x = args.gemm.params.x + block.input * args.gemm.params.input.stride_bytes;
    }
    PENSTOCK_DEVICE bool has_tile(int index) const { return index * kTileRows < rows; }
    PENSTOCK_DEVICE bool has_work(const Place& place) const {
      return place.first_input() < inputs && has_tile(place.first_pair() * 2);
    }
  };

  template <class Thread>
  PENSTOCK_DEVICE static void wait_for_step(const Thread& on, int stages) {
    switch (stages) {
      case 2:
        return on.template wait_copies<0>();
      case 3:
        return on.template wait_copies<1>();
      case 4:
        return on.template wait_copies<2>();
      default:
        return on.template wait_copies<6>();
    }
  }

  struct Step {
    int step, slot;
  };
  template <class Thread>
  PENSTOCK_DEVICE static std::byte* slot_of(const Thread& on, int slot) {
    const int bytes = kInput.bytes + members(on) / kWarp * kPair.bytes;
    const int before = kSliced ? slot * (on.threads() / kWarp) + on.thread_again() / kWarp : slot;
    return on.shared() + before * bytes;
  }
  // Starts the copies of a step: a warp those of the 32 weight rows of its number, all warps those
  // of the inputs. Rows that are not there stay whatever they are: rows of a product do not see
  // each other, and these are never stored.
  template <int kSteps, class Thread>
  PENSTOCK_DEVICE static void copy(const Thread& on, const CodesArgs& args, const Task& task,
                                   Step at) {
    std::byte* to = slot_of(on, at.slot);
    const int thread = member(on);
    copy_weights<kSteps>(on, args, task, at.step, to + kInput.bytes + thread / kWarp * kPair.bytes);
    const PreparedLayout& input = args.gemm.params.input;
    constexpr int kRowChunks = kCodesStep / 16;
    const int chunk = thread % kRowChunks, rows = members(on) / kRowChunks;
    int row = thread / kRowChunks;
    const std::byte* from = task.x + row * input.stride_bytes + at.step * kCodesStep + chunk * 16;
    PENSTOCK_UNROLL_BY(1)
    for (; row < at_most(kInputRows, task.inputs); row += rows) {
      on.copy_async(to + codes_place(row, chunk), from);
      from += rows * input.stride_bytes;
    }
    constexpr int kBlocks = kMostBlocks / kSteps;
    const int block = thread % kBlocks, of_k = at.step * kBlocks + block;
    if (of_k < input.blocks) copy_scales<kBlocks>(on, input, task, {of_k, to});
  }

  struct Scales {
    int of_k;  // block of K
    std::byte* slot;
  };
  template <int kBlocks, class Thread>
  PENSTOCK_DEVICE static void copy_scales(const Thread& on, const PreparedLayout& input,
                                          const Task& task, Scales at) {
    const int thread = member(on), block = thread % kBlocks;
    const int rows = members(on) / kBlocks;
    int row = thread / kBlocks;
    const std::byte* from = task.x + row * input.stride_bytes + input.scales_offset + at.of_k * 4;
    PENSTOCK_UNROLL_BY(1)
    for (; row < at_most(kInputRows, task.inputs); row += rows) {
      std::byte* place = at.slot + (block * kInputRows + row) * 4;
      on.copy_async_word(place + kInput.scales, from);
      if (kBits == 4) on.copy_async_word(place + kInput.sums, from + input.blocks * 4);
      from += rows * input.stride_bytes;
    }
  }

  template <int kSteps, class Thread>
  PENSTOCK_DEVICE static void copy_weights(const Thread& on, const CodesArgs& args,
                                           const Task& task, int step, std::byte* to) {
    const WeightView& view = args.gemm.view;
    const int thread = member(on), warp = thread / kWarp, lane = thread % kWarp;
    const int own = first_row(lane) / kTileRows;
    if (task.has_tile(warp * 2 + own)) {
      constexpr int kTileStep = kCodesStep * kTileRows * kBits / 8;
      const std::byte* codes = task.tiles + own * view.tile_bytes + view.codes_offset +
                               int64_t{step} * kTileStep + code_offset<kBits>(lane, 0);
      PENSTOCK_UNROLL
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        on.copy_async(to + (chunk * kWarp + lane) * 16, codes + code_offset<kBits>(0, chunk));
      }
    }
    // Four chunks of scales a block of K, from lane 0 on, two of zero points, from lane 16 on.
    constexpr int kBlocks = kMostBlocks / kSteps;
    const bool zeros = lane >= kWarp / 2;
    const int shift = zeros ? 1 : 2, index = lane % (kWarp / 2);
    const int part = index & ((1 << shift) - 1);
    const int block = index >> shift, of_k = step * kBlocks + block;
    const int tile = zeros ? part : part / 2;
    if (block >= kBlocks || of_k >= args.gemm.params.input.blocks) return;
    if (!task.has_tile(warp * 2 + tile)) return;
    const int group = of_k >> args.group_shift;
    const std::byte* from = task.tiles + tile * view.tile_bytes;
    if (!zeros) {
      on.copy_async(to + kPair.scales + block * kPairRows * 2 + part * 16,
                    from + group * kTileRows * 2 + part % 2 * 16);
    } else if (kBits == 4 && view.has_zeros) {
      on.copy_async(to + kPair.zeros + block * kPairRows + part * 16,
                    from + view.zeros_offset + group * kTileRows);
    }
  }

  // A warp's weights of a block of K.
  template <int kSteps>
  struct Weights {
    FragmentA a[kSteps][kPairs][2];
    float scales[kPairs][kThreadRows];
    uint32_t zeros[kPairs];  // a byte a row

    PENSTOCK_DEVICE Weights(const Place& place, const std::byte* slot, int block, bool has_zeros) {
      PENSTOCK_UNROLL
      for (int pair = 0; pair < kPairs; ++pair) {
        const std::byte* from = slot + kInput.bytes + (place.first_pair() + pair) * kPair.bytes;
        PENSTOCK_UNROLL
        for (int step = 0; step < kSteps; ++step) {
          fragments(from + ((block * kSteps + step) * (kBits / 4) * kWarp + place.lane) * 16,
                    a[step][pair]);
        }
        const std::byte* row =
            from + kPair.scales + (block * kPairRows + first_row(place.lane)) * 2;
        PENSTOCK_UNROLL
        for (int r = 0; r < kThreadRows; r += 2) {
          const uint32_t both = load_word(row + r * 2);
          scales[pair][r] = low_bf16(both);
          scales[pair][r + 1] = high_bf16(both);
        }
        zeros[pair] = 0x08080808u;
        if (kBits == 4 && has_zeros) {
          zeros[pair] = load_word(from + kPair.zeros + block * kPairRows + first_row(place.lane));
        }
      }
    }

   private:
    // Of 32 k: a lane's words of four rows, two of each, become two fragments.
    PENSTOCK_DEVICE static void fragments(const std::byte* chunks, FragmentA (&to)[2]) {
      const auto low = load<Chunk>(chunks);
      Chunk high = low;
      if constexpr (kBits == 8) high = load<Chunk>(chunks + kWarp * 16);
      PENSTOCK_UNROLL
      for (int r = 0; r < kThreadRows; ++r) {
        uint32_t (&words)[4] = to[r / 2].words;
        if constexpr (kBits == 8) {  // codes from 0 on become signed
          words[r % 2] = low.words[r] ^ 0x80808080u;
          words[r % 2 + 2] = high.words[r] ^ 0x80808080u;
        } else {
          words[r % 2] = low.words[r] & 0x0f0f0f0fu;
          words[r % 2 + 2] = low.words[r] >> 4 & 0x0f0f0f0fu;
        }
      }
    }
  };

  // What a lane adds to the sums of a tile by 32 weight rows for a block of K: scale times dot
  // product. Of row i / 2 of its four, input row i % 2 of its two.
  struct Addends {
    const Fragment<int32_t> (&sums)[2];
    const float (&weights)[kThreadRows];
    const PairOfWords& inputs;

    PENSTOCK_DEVICE float scale(int i) const {
      return std::bit_cast<float>(inputs.words[i % 2]) * weights[i / 2];
    }
    PENSTOCK_DEVICE float dot(int i) const {
      return std::bit_cast<float>(sums[i / 4].sums[i % 4]) - std::bit_cast<float>(kMagic);
    }
  };
  // Where they belong: `block` of K of the step.
  struct Where {
    int block, tile, pair;
  };

  // take(where, addends), blocks ascending.
  template <int kSteps, class Thread, class Take>
  PENSTOCK_DEVICE static void multiply(const Thread& on, const CodesArgs& args, const Task& task,
                                       Step at, Take take) {
    constexpr int kBlocks = kMostBlocks / kSteps;
    const Place place(on.thread_again());
    if (!task.has_work(place)) return;
    const std::byte* slot = slot_of(on, at.slot);
    const auto tiles = static_cast<int>(blocks_of(task.inputs - place.first_input(), 8));
    PENSTOCK_UNROLL_BY(1)
    for (int block = 0; block < kBlocks; ++block) {
      if (at.step * kBlocks + block >= args.gemm.params.input.blocks) break;
      const Weights<kSteps> weights(place, slot, block, args.gemm.view.has_zeros);
      const Inputs inputs(place, slot, block);
      PENSTOCK_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        if (tile >= tiles) break;
        multiply_tile(on, weights, inputs, tile, take);
      }
    }
  }

  // A warp's input rows of a slot, and a block of K. What differs between tiles is constant
  // offsets, so that addresses take few registers.
  struct Inputs {
    const std::byte *codes, *scales;
    int lane, block;

    PENSTOCK_DEVICE Inputs(const Place& place, const std::byte* slot, int block)
        : codes(slot + place.first_input() * kCodesStep),
          scales(slot + kInput.scales +
                 (block * kInputRows + place.first_input() + place_sum(place.lane, 0).column) * 4),
          lane(place.lane),
          block(block) {}
    // Of the two input rows that a lane has sums of.
    PENSTOCK_DEVICE PairOfWords two_scales(int tile) const {
      return load<PairOfWords>(scales + tile * 8 * 4);
    }
    PENSTOCK_DEVICE PairOfWords two_sums(int tile) const {
      return load<PairOfWords>(scales + kInput.sums - kInput.scales + tile * 8 * 4);
    }
    PENSTOCK_DEVICE FragmentB fragment(int tile, int step) const {
      const int offset = lane_codes(place_b(lane, 0).column, step, lane);
      const auto both = load<PairOfWords>(codes + offset + tile * 8 * kCodesStep);
      return {{both.words[0], both.words[1]}};
    }
  };

  template <int kSteps, class Thread, class Take>
  PENSTOCK_DEVICE static void multiply_tile(const Thread& on, const Weights<kSteps>& weights,
                                            const Inputs& inputs, int tile, Take take) {
    FragmentB b[kSteps];
    PENSTOCK_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      b[step] = inputs.fragment(tile, inputs.block * kSteps + step);
    }
    const PairOfWords scales = inputs.two_scales(tile);
    PairOfWords codes{};
    if constexpr (kBits == 4) codes = inputs.two_sums(tile);
    PENSTOCK_UNROLL
    for (int pair = 0; pair < kPairs; ++pair) {
      Fragment<int32_t> dots[2];
      start(weights.zeros[pair], codes, dots);
      PENSTOCK_UNROLL
      for (int i = 0; i < kSteps * 2; ++i) {
        on.multiply_s8(dots[i % 2], weights.a[i / 2][pair][i % 2], b[i / 2]);
      }
      take(Where{inputs.block, tile, pair}, Addends{dots, weights.scales[pair], scales});
    }
  }

  PENSTOCK_DEVICE static void start(uint32_t zeros, const PairOfWords& codes,
                                    Fragment<int32_t> (&dots)[2]) {
    PENSTOCK_UNROLL
    for (int i = 0; i < 8; ++i) {
      uint32_t from = kMagic;
      if constexpr (kBits == 4) from -= (zeros >> (8 * (i / 2)) & 255u) * codes.words[i % 2];
      dots[i / 4].sums[i % 4] = static_cast<int32_t>(from);
    }
  }
};

}  // namespace penstock::cuda
