// Products of quantised weights with bf16 inputs: how a launch is cut, and which codes, scales and
// inputs a thread holds. Host and GPU read the same functions.
//
// A block multiplies kStripedRows weight rows, 32 a warp, by 8, 16, 32 or 64 input rows, in
// steps of 64 k. Packed tiles (tensor/format.h) are read as they lie: a thread's 16 bytes are the
// words of 4 neighbouring rows at the same k. Because products may take rows and k in any order, as
// long as both factors do, such a chunk is two rows each of two A fragments.
#pragma once

#include "kernels/cuda/stripes.h"

namespace penstock::cuda {

inline constexpr int kWeightOnlyThreads = 128;
inline constexpr int kThreadRows = 4;  // weight rows of a thread; four threads share them
inline constexpr int kHalfStep = 32;   // k that one scale is applied to at a time
inline constexpr int kMostTiles = 8;   // of 8 input rows

constexpr StripedPlan weight_only_plan(const StripedSize& size, int64_t room) {
  int tiles = 1;
  while (tiles < kMostTiles && tiles * 8 < size.m) tiles *= 2;
  return striped_plan(size, tiles, room);
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
  return row * kStripedStep * 2 + (chunk ^ row % 2 * 4) * 16;
}

}  // namespace penstock::cuda
