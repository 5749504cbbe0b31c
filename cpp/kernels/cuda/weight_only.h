// Products of quantised weights with bf16 inputs: how a launch is cut, and which codes, scales and
// inputs a thread holds. Host and GPU read the same functions.
//
// A block multiplies kWeightOnlyRows weight rows, 32 a warp, by 8, 16, 32 or 64 input rows, in
// steps of 64 k. Packed tiles (tensor/format.h) are read as they lie: a thread's 16 bytes are the
// words of 4 neighbouring rows at the same k. Because products may take rows and k in any order, as
// long as both factors do, such a chunk is two rows each of two A fragments.
#pragma once

#include "kernels/cuda/gemm.h"

namespace penstock::cuda {

inline constexpr int kWeightOnlyRows = 128;
inline constexpr int kWeightOnlyThreads = 128;
inline constexpr int kThreadRows = 4;  // weight rows of a thread; four threads share them
inline constexpr int kOnlyStep = 64;   // k
inline constexpr int kHalfStep = 32;   // k that one scale is applied to at a time
inline constexpr int kMostTiles = 8;   // of 8 input rows

// The sum over K is that of stripes, ascending, and each stripe is summed from zero. Stripes follow
// from K alone. So it makes no difference to the bits whether one block goes through all of them or
// each has a block of its own.
struct KStripes {
  int64_t steps = 0;  // of a stripe; the last may have fewer
  int count = 0;
};
constexpr KStripes k_stripes(int64_t k) {
  constexpr int64_t kLeast = 512, kMost = 8;
  const int64_t steps = blocks_of(k, kOnlyStep);
  const int64_t wanted = at_most(kMost, at_least(int64_t{1}, k / kLeast));
  const int64_t each = blocks_of(steps, wanted);
  return {each, static_cast<int>(blocks_of(steps, each))};
}

struct WeightOnlyPlan {
  int tiles = 0;  // of 8 input rows in a block
  KStripes stripes;
  bool split = false;  // a block a stripe, whose sums a second kernel adds
  int64_t m = 0, row_blocks = 0, input_blocks = 0;

  constexpr int64_t blocks() const {
    return row_blocks * input_blocks * (split ? stripes.count : 1);
  }
  // fp32 [stripes][m][row_blocks * kWeightOnlyRows].
  constexpr int64_t workspace_bytes() const {
    return split ? stripes.count * m * row_blocks * kWeightOnlyRows * 4 : 0;
  }
};
struct WeightOnlySize {
  int64_t m, k, row_blocks;  // row_blocks: of kWeightOnlyRows weight rows, of all panels
};
// Stripes get blocks of their own when there are too few blocks otherwise and `room`, in bytes,
// holds their sums.
constexpr WeightOnlyPlan weight_only_plan(const WeightOnlySize& size, int64_t room) {
  constexpr int64_t kEnoughBlocks = 132;  // the multiprocessors of a large GPU
  WeightOnlyPlan plan;
  plan.tiles = 1;
  while (plan.tiles < kMostTiles && plan.tiles * 8 < size.m) plan.tiles *= 2;
  plan.stripes = k_stripes(size.k);
  plan.m = size.m;
  plan.row_blocks = size.row_blocks;
  plan.input_blocks = blocks_of(size.m, plan.tiles * 8);
  const bool few = plan.blocks() < kEnoughBlocks;
  plan.split = few && plan.stripes.count > 1;
  if (plan.workspace_bytes() > room) plan.split = false;
  return plan;
}

// The group of k is k >> shift. All of a row's k are one group's with one scale a row.
constexpr int group_shift(const WeightView& view) {
  int shift = 0;
  while (shift < 31 && int64_t{1} << shift != view.group) ++shift;
  return shift <= 7 && shift >= 5 ? shift : 31;
}

// The first of a thread's four weight rows, in the block. They are also the rows of its sums: sum i
// of fragment f is of row 2 f + i / 2.
constexpr int first_row(int thread) { return thread / 4 * kThreadRows; }

// A thread's chunks of a step: bytes from the first code of the step in the tile that its rows are
// in. With 4 bits a chunk holds 8 k of each row, low nibbles first: chunk `half` of half a step.
// With 8 bits it takes two neighbouring chunks.
template <int kBits>
constexpr int code_offset(int lane, int chunk) {
  const int word = kBits == 4 ? chunk * 4 + lane % 4 : chunk / 2 * 8 + lane % 4 * 2 + chunk % 2;
  return (word * kTileRows + lane / 4 * kThreadRows % kTileRows) * 4;
}
// Of a thread's 8 k of half a step, the first.
constexpr int first_k(int lane) { return lane % 4 * 8; }

// Where chunk `chunk` (8 values of k) of a staged input row is: rows that the lanes of a quarter of
// a warp read together are in different banks.
constexpr int input_offset(int row, int chunk) {
  return row * kOnlyStep * 2 + (chunk ^ row % 2 * 4) * 16;
}

}  // namespace penstock::cuda
