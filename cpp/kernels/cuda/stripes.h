// Products that may be cut along K, what they share: the sum over K is that of stripes, ascending,
// and each stripe is summed from zero. Stripes follow from K alone. So it makes no difference to
// the bits whether one block goes through all of them or each has a block of its own.
//
// A block multiplies kStripedRows weight rows by some input rows, in steps of kStripedStep k. Host
// and GPU read the same functions.
#pragma once

#include "kernels/cuda/gemm.h"

namespace penstock::cuda {

inline constexpr int kStripedRows = 128;
inline constexpr int kStripedStep = 64;  // k

struct KStripes {
  int64_t steps = 0;  // of a stripe; the last may have fewer
  int count = 0;
};
constexpr KStripes k_stripes(int64_t k) {
  constexpr int64_t kLeast = 512, kMost = 8;
  const int64_t steps = blocks_of(k, kStripedStep);
  const int64_t wanted = at_most(kMost, at_least(int64_t{1}, k / kLeast));
  const int64_t each = blocks_of(steps, wanted);
  return {each, static_cast<int>(blocks_of(steps, each))};
}

struct StripedPlan {
  int tiles = 0;  // of 8 input rows in a block
  KStripes stripes;
  bool split = false;  // a block a stripe, whose sums a second kernel adds
  int64_t m = 0, row_blocks = 0, input_blocks = 0;

  constexpr int64_t blocks() const {
    return row_blocks * input_blocks * (split ? stripes.count : 1);
  }
  // fp32 [stripes][m][row_blocks * kStripedRows].
  constexpr int64_t workspace_bytes() const {
    return split ? stripes.count * m * row_blocks * kStripedRows * 4 : 0;
  }
};
struct StripedSize {
  int64_t m, k, row_blocks;  // row_blocks: of kStripedRows weight rows, of all panels
};
// Stripes get blocks of their own when there are too few blocks otherwise and `room`, in bytes,
// holds their sums.
constexpr StripedPlan striped_plan(const StripedSize& size, int tiles, int64_t room) {
  constexpr int64_t kEnoughBlocks = 132;  // the multiprocessors of a large GPU
  StripedPlan plan;
  plan.tiles = tiles;
  plan.stripes = k_stripes(size.k);
  plan.m = size.m;
  plan.row_blocks = size.row_blocks;
  plan.input_blocks = blocks_of(size.m, tiles * 8);
  const bool few = plan.blocks() < kEnoughBlocks;
  plan.split = few && plan.stripes.count > 1;
  if (plan.workspace_bytes() > room) plan.split = false;
  return plan;
}

struct StripedArgs {
  GemmArgs gemm;
  KStripes stripes;
  bool split;          // the block does one stripe
  std::byte* partial;  // of a split launch: StripedPlan::workspace_bytes()

  // Where the sum of a stripe is kept, `place` counting weight rows in whole blocks.
  PENSTOCK_DEVICE std::byte* partial_sum(int stripe, int64_t input, int64_t place) const {
    const int64_t line = stripe * gemm.params.m + input;
    return partial + (line * gemm.row_blocks * kStripedRows + place) * 4;
  }
};

// The steps of K that a block does.
struct StripedSteps {
  int stripe, begin, end;

  PENSTOCK_DEVICE StripedSteps(const StripedArgs& args, int64_t index)
      : stripe(args.split ? static_cast<int>(index % args.stripes.count) : 0) {
    const auto steps = static_cast<int>(blocks_of(args.gemm.params.k, kStripedStep));
    const auto each = static_cast<int>(args.stripes.steps);
    begin = stripe * each;
    end = args.split ? at_most(steps, begin + each) : steps;
  }
};

// Adds the stripes of a split launch, ascending: a block a row block and input row, a thread a sum.
struct AddStripesKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const StripedArgs& args) const {
    const GemmParams& p = args.gemm.params;
    const GemmBlock block(args.gemm, on.block(), {kStripedRows, 1});
    if (on.thread() >= block.rows) return;
    const int64_t place = on.block() % args.gemm.row_blocks * kStripedRows + on.thread();
    float sum = 0;
    for (int stripe = 0; stripe < args.stripes.count; ++stripe) {
      sum += load<float>(args.partial_sum(stripe, block.input, place));
    }
    finish(p, block, on.thread(), 0, sum * input_scale(p, block.input));
  }
};

}  // namespace penstock::cuda
