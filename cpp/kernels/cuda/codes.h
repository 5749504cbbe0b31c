// Products of quantised weights with int8 inputs: how a launch is cut, what a stage of shared
// memory holds, and where. Host and GPU read the same functions.
//
// A step is 128 k: one, two or four blocks of K. A stage holds a step of a block of threads that
// has as many weight rows as threads; or, where few blocks are all there are, of 32 weight rows a
// step for each warp ("sliced K"). Weight rows go by 32, two tiles of tensor/format.h, of which
// lanes hold what weight_only.h says: a lane's 16 bytes are the words of 4 neighbouring rows at the
// same k.
#pragma once

#include "kernels/cuda/weight_only.h"

namespace penstock::cuda {

inline constexpr int kCodesStep = kTileK;                  // k of a step
inline constexpr int kMmaStep = 32;                        // k of one product of fragments
inline constexpr int kMostBlocks = kCodesStep / kMmaStep;  // of K in a step
inline constexpr int kPairRows = 2 * kTileRows;
inline constexpr int kNarrowInputs = 64, kWideInputs = 128;
inline constexpr int kMostCodesRows = 256;
inline constexpr int kSlicedInputs = 8, kMostSlices = 8;

// Bytes of a step. First the inputs: codes, then [block of K][row] scales, with 4 bits also sums
// of codes. Then, for each 32 weight rows: codes, [block of K][row] scales, with 4 bits zero
// points.
struct InputPart {
  int scales, sums, bytes;
};
constexpr InputPart input_part(int bits, int inputs) {
  const int scales = inputs * kCodesStep, each = kMostBlocks * inputs * 4;
  return {scales, scales + each, scales + each * (bits == 4 ? 2 : 1)};
}
struct PairPart {
  int scales, zeros, bytes;
};
constexpr PairPart pair_part(int bits) {
  const int scales = kPairRows * kCodesStep * bits / 8;
  const int zeros = scales + kMostBlocks * kPairRows * 2;
  return {scales, zeros, zeros + (bits == 4 ? kMostBlocks * kPairRows : 0)};
}

// Where 16 codes of a staged input row are: rows that half a warp reads together, 32 bytes of each,
// are in different banks.
constexpr int codes_place(int row, int chunk) {
  return row * kCodesStep + (chunk ^ row % 4 * 2) * 16;
}
// A lane's 8 codes of an input row in 32 k: those of its words of the weights.
constexpr int lane_codes(int row, int step, int lane) {
  return codes_place(row, step * 2 + lane % 4 / 2) + lane % 2 * 8;
}

// What the warps of a sliced block leave to be added in the order of K, behind the stages: [two
// turns][block of K of a turn][scale, dot product][input row][32 weight rows]. Rows are so long
// that neither those who store nor those who load meet in a bank.
inline constexpr int kAddendRow = kPairRows + 4;
constexpr int addend_bytes(int inputs) { return 2 * inputs * kAddendRow * 4; }
constexpr int addend_place(int inputs, int input, bool dot) {
  return ((dot ? inputs : 0) + input) * kAddendRow * 4;
}

// Shared memory of a multiprocessor, and how much of it one block may have.
struct SharedRoom {
  int64_t multiprocessor, block;
};
constexpr SharedRoom shared_room(int capability) {
  constexpr int64_t kKib = 1024;
  if (capability < 80) return {64 * kKib, 64 * kKib};
  if (capability == 80 || capability == 87) return {164 * kKib, 163 * kKib};
  if (capability == 86 || capability == 89 || capability >= 120) return {100 * kKib, 99 * kKib};
  return {228 * kKib, 227 * kKib};
}

struct CodesGpu {
  SharedRoom room;
  int multiprocessors;
};

struct CodesPlan {
  int tiles = 0;      // of 8 input rows, of a warp
  bool wide = false;  // a warp has 64 weight rows and one of the two halves of the input rows
  int rows = 0;       // weight rows of a block
  int stages = 0;     // 0: it does not fit
  int slices = 1;     // above 1: so many warps take the steps of 32 rows in turns
  int64_t row_blocks = 0, input_blocks = 0;

  constexpr int inputs() const { return tiles * (wide ? 16 : 8); }
  constexpr int threads() const { return rows * slices; }
  constexpr int64_t blocks() const { return row_blocks * input_blocks; }
  constexpr int64_t stage_bytes(int bits) const {
    return slices *
           (input_part(bits, inputs()).bytes + int64_t{rows} / kPairRows * pair_part(bits).bytes);
  }
};

struct CodesSize {
  int64_t m, k, block;  // block: of K, that has a scale
  int bits;
};
// Of a block, for what its warps leave to each other.
constexpr int64_t all_addend_bytes(const CodesPlan& plan, const CodesSize& size) {
  if (plan.slices == 1) return 0;
  const int64_t blocks = plan.slices * (kCodesStep / size.block);
  return 2 * blocks * addend_bytes(static_cast<int>(at_most(size.m, int64_t{kSlicedInputs})));
}

inline constexpr int64_t kReservedShared = 1024;  // of every block, for the system
constexpr int stages_that_count(int64_t fit) {
  if (fit < 2) return 0;
  return fit >= 8 ? 8 : static_cast<int>(at_most(fit, int64_t{4}));
}
// As many stages as let two blocks live on a multiprocessor, or one of the largest, but two at
// least: 2, 3, 4 or 8.
constexpr int codes_stages(const CodesPlan& plan, int bits, SharedRoom room) {
  const int64_t each = plan.stage_bytes(bits), fit = room.block / each;
  const int64_t half = (room.multiprocessor / 2 - kReservedShared) / each;
  const int64_t shared = plan.rows == kMostCodesRows ? fit : at_least(half, int64_t{2});
  return stages_that_count(at_most(fit, shared));
}
// Of a sliced plan: for two blocks, or for one where no multiprocessor has two.
constexpr int sliced_stages(const CodesPlan& plan, const CodesSize& size, const CodesGpu& gpu) {
  const bool alone = plan.blocks() <= gpu.multiprocessors;
  const int64_t room = alone ? gpu.room.block : gpu.room.multiprocessor / 2 - kReservedShared;
  return stages_that_count((room - all_addend_bytes(plan, size)) / plan.stage_bytes(size.bits));
}

// Few input rows, and too few warps to keep a GPU's memory busy if each had weight rows of its own:
// 4 or 8 warps a block that share K, as shared memory allows and K has steps. Otherwise the plan
// as it was.
template <class RowBlocks>
constexpr CodesPlan sliced_or(const CodesPlan& whole, const CodesSize& size, const CodesGpu& gpu,
                              RowBlocks row_blocks) {
  const int64_t enough = int64_t{7} * gpu.multiprocessors;  // warps
  if (size.m > kSlicedInputs || whole.blocks() * whole.rows >= enough * kWarp) return whole;
  CodesPlan plan{.tiles = 1, .rows = kPairRows, .slices = kMostSlices};
  plan.row_blocks = row_blocks(plan.rows);
  plan.input_blocks = 1;
  if (plan.blocks() * plan.slices / 2 >= enough) plan.slices /= 2;
  for (; plan.slices > 1; plan.slices /= 2) {
    plan.stages = sliced_stages(plan, size, gpu);
    if (plan.stages > 0 && plan.slices <= blocks_of(size.k, kCodesStep)) return plan;
  }
  return whole;
}

// The largest tiles that give nearly every multiprocessor of a large GPU a block. Rows of a block
// that no panel has are no reason for a large one. row_blocks(rows) are blocks of so many weight
// rows in all panels. The bits do not depend on the plan.
template <class RowBlocks>
constexpr CodesPlan codes_plan(const CodesSize& size, const CodesGpu& gpu, RowBlocks row_blocks) {
  constexpr int64_t kEnoughBlocks = 120;
  const auto plan_of = [&](int tiles, bool wide, int rows) {
    CodesPlan plan{tiles, wide, rows};
    plan.stages = codes_stages(plan, size.bits, gpu.room);
    plan.row_blocks = row_blocks(rows);
    plan.input_blocks = blocks_of(size.m, plan.inputs());
    return plan;
  };
  const auto filled = [&](const CodesPlan& plan) {
    return plan.blocks() >= kEnoughBlocks && row_blocks(plan.rows / 2) > plan.row_blocks;
  };
  for (int rows = kMostCodesRows; size.m > kNarrowInputs && rows >= 128; rows /= 2) {
    const CodesPlan plan = plan_of(8, true, rows);
    if (plan.stages > 0 && filled(plan)) return plan;
  }
  int tiles = 1;
  while (tiles < 8 && tiles * 8 < size.m) tiles *= 2;
  for (int rows = 128;; rows /= 2) {
    const CodesPlan plan = plan_of(tiles, false, rows);
    if (rows > at_least(kPairRows, tiles * 8) && !filled(plan)) continue;
    return sliced_or(plan, size, gpu, row_blocks);
  }
}

// The group of block b of K is b >> shift. All blocks are one group's with one scale a row.
constexpr int block_group_shift(int64_t block, int64_t group) {
  int shift = 0;
  while (shift < 3 && block << shift != group) ++shift;
  return shift < 3 ? shift : 31;
}

// Index of a block of the launch as GemmBlock counts: here input rows change fastest, so that
// blocks at work together read the same few weights.
constexpr int64_t codes_block(int64_t index, int64_t row_blocks, int64_t input_blocks) {
  return index % input_blocks * row_blocks + index / input_blocks;
}

}  // namespace penstock::cuda
