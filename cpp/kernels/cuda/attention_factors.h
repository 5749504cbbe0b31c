// Queries and softmax weights as factors of products on tensor cores: beside bf16 they are rounded
// to bf16; beside fp16 they are sums of two fp16 (22 bits), so that a product is two.
#pragma once

#include "kernels/cuda/attention_tiles.h"

namespace penstock::cuda {

// Rows of staged numbers, of which each is a column of B.
struct StagedRows {
  const std::byte* first;
  int64_t stride;  // bytes
  int lane;
};

//   kScaled                       whether a row has to be brought to magnitudes below 2^15
//   Word                          of a staged number: of(value), value(word)
//   multiply(on, sums, a, rows)   sums += A by 8 staged rows
template <DType kType>
struct Factor;

template <>
struct Factor<DType::bf16> {
  static constexpr bool kScaled = false;
  using Word = uint16_t;

  PENSTOCK_DEVICE static Word of(float value) { return bf16_from_float(value); }
  PENSTOCK_DEVICE static float value(Word word) { return float_from_bf16(word); }
  template <class Thread>
  PENSTOCK_DEVICE static void multiply(const Thread& on, Fragment<float>& sums, const FragmentA& a,
                                       const StagedRows& rows) {
    FragmentB b;
    for (int i = 0; i < 2; ++i) {
      const PlaceB place = place_b(rows.lane, i);
      b.words[i] = load_word(rows.first + place.column * rows.stride + place.word * 4);
    }
    on.multiply_bf16(sums, a, b);
  }
};

PENSTOCK_DEVICE inline uint32_t low_halves(const PairOfWords& both) {
  return select_bytes(both.words[0], both.words[1], 0x5410);
}
PENSTOCK_DEVICE inline uint32_t high_halves(const PairOfWords& both) {
  return select_bytes(both.words[0], both.words[1], 0x7632);
}

// A number is two fp16, the larger one in the low half.
template <>
struct Factor<DType::f16> {
  static constexpr bool kScaled = true;
  using Word = uint32_t;

  PENSTOCK_DEVICE static Word of(float value) {
    const uint32_t high = f16_pair(value, 0.0f);
    return high | f16_pair(0.0f, value - low_f16(high));
  }
  PENSTOCK_DEVICE static float value(Word word) { return low_f16(word) + high_f16(word); }

  // The two parts of B.
  struct Columns {
    FragmentB high, low;

    PENSTOCK_DEVICE void set(int i, float first, float second) {
      high.words[i] = f16_pair(first, second);
      low.words[i] = f16_pair(first - low_f16(high.words[i]), second - high_f16(high.words[i]));
    }
  };
  template <class Thread>
  PENSTOCK_DEVICE static void multiply(const Thread& on, Fragment<float>& sums, const FragmentA& a,
                                       const Columns& b) {
    on.multiply_f16(sums, a, b.high);
    on.multiply_f16(sums, a, b.low);
  }
  template <class Thread>
  PENSTOCK_DEVICE static void multiply(const Thread& on, Fragment<float>& sums, const FragmentA& a,
                                       const StagedRows& rows) {
    Columns b;
    for (int i = 0; i < 2; ++i) {
      const PlaceB place = place_b(rows.lane, i);
      const auto both = load<PairOfWords>(rows.first + place.column * rows.stride + place.word * 8);
      b.high.words[i] = low_halves(both);
      b.low.words[i] = high_halves(both);
    }
    multiply(on, sums, a, b);
  }
};

// Queries of a block in shared memory. fp16 has a narrow range: a query is divided by a power of
// two. What is too small for it then is nothing beside the largest of the row.
template <DType kType>
struct StagedQueries {
  using Numbers = Factor<kType>;
  static constexpr int64_t kWord = sizeof(typename Numbers::Word);

  int64_t tiles, stride;  // bytes of a query
  std::byte* rows;
  float* scales;  // by query: what makes scores of its products

  // No bank conflicts.
  static constexpr int64_t row_bytes(int64_t head_dim) { return (head_dim + 8) * kWord; }
  static constexpr int64_t bytes(int64_t queries, int64_t head_dim) {
    return queries * (row_bytes(head_dim) + 4);
  }

  PENSTOCK_DEVICE StagedQueries(std::byte* shared, const AttentionArgs& args)
      : tiles(query_tiles(args)),
        stride(row_bytes(args.view.head_dim)),
        rows(shared),
        scales(static_cast<float*>(static_cast<void*>(rows + tiles * 8 * stride))) {}

  // Of 8 queries, from element d on.
  PENSTOCK_DEVICE StagedRows columns(int tile, int64_t d, int lane) const {
    return {rows + tile * 8 * stride + d * kWord, stride, lane};
  }

  // A warp a query; zeros where there is none.
  template <class Thread>
  PENSTOCK_DEVICE void stage(const Thread& on, const AttentionArgs& args,
                             const AttentionBlock& block) const {
    const int lane = on.thread() % kWarp;
    const int64_t dim = args.view.head_dim;
    for (int64_t query = on.thread() / kWarp; query < tiles * 8; query += kAttentionWarps) {
      const bool there = query < block.queries();
      const float* q = block.q(args, there ? query : 0);
      int exponent = 0;
      if constexpr (Numbers::kScaled) exponent = f16_exponent(largest_bits(on, q, dim));
      const float inverse = power_of_two(-exponent);
      for (int64_t d = lane; d < dim; d += kWarp) {
        store(rows + query * stride + d * kWord, Numbers::of(there ? q[d] * inverse : 0.0f));
      }
      if (lane == 0) scales[query] = power_of_two(exponent) * args.params.scale;
    }
  }

 private:
  template <class Thread>
  PENSTOCK_DEVICE static int32_t largest_bits(const Thread& on, const float* q, int64_t dim) {
    int32_t largest = 0;
    for (int64_t d = on.thread() % kWarp; d < dim; d += kWarp) {
      largest = at_least(largest, magnitude_bits(q[d]));
    }
    return on.over_warp(largest, Largest{});
  }
};

}  // namespace penstock::cuda
