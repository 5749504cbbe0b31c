// Which elements of a matrix a lane holds in PTX's mma.m16n8k32 (8 bits) and mma.m16n8k16 (16
// bits), in words of 4 bytes: kPerWord neighbours of k. A is 16 x 8 words by rows, B 8 words x 8 by
// columns; the sums are 16 x 8.
#pragma once

#include "kernels/cuda/simt.h"

namespace penstock::cuda {

// Word `i` of A.
struct PlaceA {
  int row, word;
};
constexpr PlaceA place_a(int lane, int i) { return {lane / 4 + i % 2 * 8, lane % 4 + i / 2 * 4}; }
// Word `i` of B.
struct PlaceB {
  int word, column;
};
constexpr PlaceB place_b(int lane, int i) { return {lane % 4 + i * 4, lane / 4}; }
// Sum `i`.
struct PlaceSum {
  int row, column;
};
constexpr PlaceSum place_sum(int lane, int i) {
  return {lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2};
}

}  // namespace penstock::cuda
