// Partial attention over 16-bit caches on tensor cores. Keys are fragments of A as they lie in
// pages, and so are values of bf16. Beside a bf16 cache queries and softmax weights are rounded to
// bf16; beside an fp16 cache they are sums of two fp16 (22 bits), so that a product is two. (A
// value that is not finite spoils the rows before it that share its tile.)
#pragma once

#include "kernels/cuda/attention_tiles.h"

namespace penstock::cuda {

// Rows of staged numbers.
struct StagedRows {
  const std::byte* first;
  int64_t stride;  // bytes
  int lane;
};
// Values of neighbouring tokens, from the first one on.
struct TokenRows {
  const std::byte* first;
  int64_t stride;  // bytes
};

// What depends on the type of a cache: how queries and softmax weights are staged, and how values
// become A, whose rows are elements of head_dim.
//   Word                          of a staged number: of(value), value(word)
//   multiply(on, sums, a, rows)   sums += A by 8 staged rows, of which each is a column
//   element(row)                  of the 16 elements of A
//   values(tokens, d, row)        of two tokens, elements from d on: words of A, row and row + 8
template <DType kType>
struct PairsOf;

template <>
struct PairsOf<DType::bf16> {
  using Word = uint16_t;

  PENSTOCK_DEVICE static Word of(float value) { return bf16_from_float(value); }
  PENSTOCK_DEVICE static float value(Word word) { return float_from_bf16(word); }
  template <class Thread>
  PENSTOCK_DEVICE static void multiply(const Thread& on, Fragment<float>& sums, const FragmentA& a,
                                       const StagedRows& rows) {
    on.multiply_bf16(sums, a, staged_b(rows.first, rows.stride, rows.lane));
  }

  static constexpr int element(int row) { return row; }
  // A word holds an element of two tokens.
  PENSTOCK_DEVICE static PairOfWords values(const TokenRows& tokens, int64_t d, int row) {
    const std::byte* at = tokens.first + (d + row) * 4;
    return {{load_word(at), load_word(at + 8 * 4)}};
  }
};

// A number is two fp16, the larger one in the low half.
template <>
struct PairsOf<DType::f16> {
  using Word = uint32_t;

  PENSTOCK_DEVICE static Word of(float value) {
    const uint32_t high = f16_pair(value, 0.0f);
    return high | f16_pair(0.0f, value - float_from_f16(static_cast<uint16_t>(high)));
  }
  PENSTOCK_DEVICE static float value(Word word) {
    return float_from_f16(static_cast<uint16_t>(word)) +
           float_from_f16(static_cast<uint16_t>(word >> 16));
  }
  template <class Thread>
  PENSTOCK_DEVICE static void multiply(const Thread& on, Fragment<float>& sums, const FragmentA& a,
                                       const StagedRows& rows) {
    FragmentB high, low;
    for (int i = 0; i < 2; ++i) {
      const PlaceB place = place_b(rows.lane, i);
      const auto both = load<PairOfWords>(rows.first + place.column * rows.stride + place.word * 8);
      high.words[i] = low_halves(both);
      low.words[i] = high_halves(both);
    }
    on.multiply_f16(sums, a, high);
    on.multiply_f16(sums, a, low);
  }

  // A word holds two elements of a token, which go to rows 8 apart.
  static constexpr int element(int row) { return row % 8 * 2 + row / 8; }
  PENSTOCK_DEVICE static PairOfWords values(const TokenRows& tokens, int64_t d, int row) {
    const std::byte* at = tokens.first + (d + element(row)) * 2;
    const PairOfWords both{{load_word(at), load_word(at + tokens.stride)}};
    return {{low_halves(both), high_halves(both)}};
  }

 private:
  PENSTOCK_DEVICE static uint32_t low_halves(const PairOfWords& both) {
    return select_bytes(both.words[0], both.words[1], 0x5410);
  }
  PENSTOCK_DEVICE static uint32_t high_halves(const PairOfWords& both) {
    return select_bytes(both.words[0], both.words[1], 0x7632);
  }
};

template <DType kType>
struct PairCache {
  using Pairs = PairsOf<kType>;
  using Word = typename Pairs::Word;
  static constexpr int64_t kWord = sizeof(Word);
  // fp16 has a narrow range: a query is brought to magnitudes below 2^15, weights are of 2^-15.
  // What is too small for it then is nothing beside the largest of the row. Its weights take the
  // place of the scores.
  static constexpr bool kScaled = kType == DType::f16, kInPlace = kScaled;
  static constexpr float kWeightStep = kScaled ? 0x1p-15f : 1.0f;
  // Bytes of a query's weights: no bank conflicts.
  static constexpr int64_t kWeightStride =
      kInPlace ? kScoreStride * 4 : (kAttentionSegment + 8) * kWord;

  static constexpr int64_t query_stride(int64_t head_dim) {
    return query_bytes(head_dim) * kWord / 2;
  }
  static constexpr size_t shared_bytes(int64_t queries, int64_t head_dim) {
    const int64_t weights = kInPlace ? 0 : kWeightStride;
    return static_cast<size_t>(queries * (kScoreStride * 4 + weights + query_stride(head_dim) + 4));
  }
  static size_t shared_bytes(const AttentionArgs& args) {
    return shared_bytes(query_tiles(args) * 8, args.view.head_dim);
  }

  // Shared memory: of every query its scores, its weights, itself, what its scores are multiples
  // of.
  struct Room {
    int64_t tiles, stride;  // bytes of a query
    float* scores;
    std::byte *weights, *queries;
    float* powers;

    PENSTOCK_DEVICE Room(std::byte* shared, const AttentionArgs& args)
        : tiles(query_tiles(args)),
          stride(query_stride(args.view.head_dim)),
          scores(static_cast<float*>(static_cast<void*>(shared))),
          weights(shared + (kInPlace ? 0 : tiles * 8 * kScoreStride * 4)),
          queries(weights + tiles * 8 * kWeightStride),
          powers(static_cast<float*>(static_cast<void*>(queries + tiles * 8 * stride))) {}
  };

  // A warp a query.
  template <class Thread>
  PENSTOCK_DEVICE static void stage(const Thread& on, const AttentionArgs& args,
                                    const AttentionBlock& block, const Room& room) {
    const int lane = on.thread() % kWarp;
    const int64_t dim = args.view.head_dim;
    for (int64_t query = on.thread() / kWarp; query < room.tiles * 8; query += kAttentionWarps) {
      const bool there = query < block.queries();
      const float* q = block.q(args, there ? query : 0);
      int exponent = 0;
      if constexpr (kScaled) exponent = f16_exponent(largest_bits(on, q, dim));
      const float inverse = power_of_two(-exponent);
      for (int64_t d = lane; d < dim; d += kWarp) {
        const Word word = Pairs::of(there ? q[d] * inverse : 0.0f);
        store(room.queries + query * room.stride + d * kWord, word);
      }
      if (lane == 0) room.powers[query] = power_of_two(exponent);
    }
  }
  template <class Thread>
  PENSTOCK_DEVICE static int32_t largest_bits(const Thread& on, const float* q, int64_t dim) {
    int32_t largest = 0;
    for (int64_t d = on.thread() % kWarp; d < dim; d += kWarp) {
      largest = at_least(largest, magnitude_bits(q[d]));
    }
    return on.over_warp(largest, Largest{});
  }

  template <class Thread>
  PENSTOCK_DEVICE static void score_keys(const Thread& on, const AttentionArgs& args,
                                         const AttentionBlock& block, const Room& room,
                                         int64_t key_block) {
    const int lane = on.thread() % kWarp;
    const TilePlace keys(args, block, false, key_block * kKeyBlock);
    QuerySums sums;
    for (int64_t d = 0; d < args.view.head_dim; d += 16) {
      FragmentA a;
      for (int i = 0; i < 4; ++i) {
        const PlaceA place = place_a(lane, i);
        a.words[i] = load_word(keys.codes + (d / 2 + place.word) * 4 * kKeyBlock + place.row * 4);
      }
      PENSTOCK_UNROLL
      for (int tile = 0; tile < kQueryTiles; ++tile) {
        if (tile >= room.tiles) break;
        const std::byte* queries = room.queries + tile * 8 * room.stride + d * kWord;
        Pairs::multiply(on, sums[tile], a, {queries, room.stride, lane});
      }
    }
    store_scores(args, sums, key_block, lane, room.scores);
  }

  // Softmax weights of a query; none for keys that it does not see.
  template <class Thread>
  PENSTOCK_DEVICE static void weigh(const Thread& on, const AttentionArgs& args,
                                    const AttentionBlock& block, const Room& room, int64_t query) {
    const KeyRange keys = seen_by(args, block, query);
    const float* scores = room.scores + query * kScoreStride;
    const float power = room.powers[query];
    AttentionState state{largest_score(on, keys, scores) * power, 0};
    for (int64_t k = on.thread() % kWarp; k < kAttentionSegment; k += kWarp) {
      const bool seen = k >= keys.begin && k < keys.end;
      const float weight = seen ? exp_of(scores[k] * power - state.max) : 0.0f;
      const Word word = Pairs::of(weight * (1 / kWeightStep));
      store(room.weights + query * kWeightStride + k * kWord, word);
      state.sum += Pairs::value(word);
    }
    state.sum = on.over_warp(state.sum, Add{}) * kWeightStep;
    if (query < block.queries() && on.thread() % kWarp == 0) block.finish(args, query, state);
  }

  template <class Thread>
  PENSTOCK_DEVICE static void add(const Thread& on, const Room& room, ValuesAt at, int tile,
                                  TileSums to) {
    const std::byte* weights =
        room.weights + tile * 8 * kWeightStride + at.key_block * kKeyBlock * kWord;
    Pairs::multiply(on, to.sums, to.a, {weights, kWeightStride, at.lane});
  }
  PENSTOCK_DEVICE static float output(const Room&, int64_t, int64_t, float sum) {
    return sum * kWeightStep;
  }

  static constexpr int element(int row) { return Pairs::element(row); }
  // 16 elements of 16 values. What no query of the block sees may be anything and counts as 0.
  PENSTOCK_DEVICE static FragmentA values(const AttentionArgs& args, const AttentionBlock& block,
                                          ValuesAt at) {
    const SeenKeys keys(args, block);
    const int64_t first = at.key_block * kKeyBlock, stride = args.view.code_bytes;
    const TilePlace from(args, block, true, first);
    FragmentA a;
    for (int i = 0; i < 4; i += 2) {
      const PlaceA place = place_a(at.lane, i);
      const int64_t token = 2 * place.word;
      const PairOfWords words =
          Pairs::values({from.codes + token * stride, stride}, at.d_tile * 16, place.row);
      const uint32_t low = keys.has(first + token) ? 0x0000ffffu : 0;
      const uint32_t high = keys.has(first + token + 1) ? 0xffff0000u : 0;
      a.words[i] = words.words[0] & (low | high);
      a.words[i + 1] = words.words[1] & (low | high);
    }
    return a;
  }
};

}  // namespace penstock::cuda
