// Partial attention over 16-bit caches on tensor cores that take their type. Keys are fragments of
// A as they lie in pages, and so are values of bf16. (A value that is not finite spoils the rows
// before it that share its tile.)
#pragma once

#include "kernels/cuda/attention_factors.h"

namespace penstock::cuda {

// Values of neighbouring tokens, from the first one on.
struct TokenRows {
  const std::byte* first;
  int64_t stride;  // bytes
};

// How values become A, whose rows are elements of head_dim.
//   element(row)                  of the 16 elements of A
//   values(tokens, d, row)        of two tokens, elements from d on: words of A, row and row + 8
template <DType kType>
struct PairsOf;

template <>
struct PairsOf<DType::bf16> {
  static constexpr int element(int row) { return row; }
  // A word holds an element of two tokens.
  PENSTOCK_DEVICE static PairOfWords values(const TokenRows& tokens, int64_t d, int row) {
    const std::byte* at = tokens.first + (d + row) * 4;
    return {{load_word(at), load_word(at + 8 * 4)}};
  }
};

template <>
struct PairsOf<DType::f16> {
  // A word holds two elements of a token, which go to rows 8 apart.
  static constexpr int element(int row) { return row % 8 * 2 + row / 8; }
  PENSTOCK_DEVICE static PairOfWords values(const TokenRows& tokens, int64_t d, int row) {
    const std::byte* at = tokens.first + (d + element(row)) * 2;
    const PairOfWords both{{load_word(at), load_word(at + tokens.stride)}};
    return {{low_halves(both), high_halves(both)}};
  }
};

template <DType kType>
struct PairCache {
  using Pairs = PairsOf<kType>;
  using Numbers = Factor<kType>;
  using Word = typename Numbers::Word;
  static constexpr int64_t kWord = sizeof(Word);
  // fp16 has a narrow range: weights are multiples of 2^-15. They take the place of the scores.
  static constexpr bool kInPlace = kWord == 4;
  static constexpr float kWeightStep = Numbers::kScaled ? 0x1p-15f : 1.0f;
  // Bytes of a query's weights: no bank conflicts.
  static constexpr int64_t kWeightStride =
      kInPlace ? kScoreStride * 4 : (kAttentionSegment + 8) * kWord;

  static constexpr size_t shared_bytes(int64_t queries, int64_t head_dim) {
    const int64_t weights = kInPlace ? 0 : kWeightStride;
    return static_cast<size_t>(queries * (kScoreStride * 4 + weights) +
                               StagedQueries<kType>::bytes(queries, head_dim));
  }

  // Shared memory: of every query its scores, its weights, itself.
  struct Room {
    int64_t tiles;
    float* scores;
    std::byte* weights;
    StagedQueries<kType> queries;

    PENSTOCK_DEVICE Room(std::byte* shared, const AttentionArgs& args)
        : tiles(query_tiles(args)),
          scores(static_cast<float*>(static_cast<void*>(shared))),
          weights(shared + (kInPlace ? 0 : tiles * 8 * kScoreStride * 4)),
          queries(weights + tiles * 8 * kWeightStride, args) {}
  };

  template <class Thread>
  PENSTOCK_DEVICE static void stage(const Thread& on, const AttentionArgs& args,
                                    const AttentionBlock& block, const Room& room) {
    room.queries.stage(on, args, block);
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
        Numbers::multiply(on, sums[tile], a, room.queries.columns(tile, d, lane));
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
    const float scale = room.queries.scales[query];
    AttentionState state{largest_score(on, keys, scores) * scale, 0};
    for (int64_t k = on.thread() % kWarp; k < kAttentionSegment; k += kWarp) {
      const bool seen = k >= keys.begin && k < keys.end;
      const float weight = seen ? exp_of(scores[k] * scale - state.max) : 0.0f;
      const Word word = Numbers::of(weight * (1 / kWeightStep));
      store(room.weights + query * kWeightStride + k * kWord, word);
      state.sum += Numbers::value(word);
    }
    state.sum = on.over_warp(state.sum, Add{}) * kWeightStep;
    if (query < block.queries() && on.thread() % kWarp == 0) block.finish(args, query, state);
  }

  template <class Thread>
  PENSTOCK_DEVICE static void add(const Thread& on, const Room& room, ValuesAt at, int tile,
                                  TileSums to) {
    const std::byte* weights =
        room.weights + tile * 8 * kWeightStride + at.key_block * kKeyBlock * kWord;
    Numbers::multiply(on, to.sums, to.a, StagedRows{weights, kWeightStride, at.lane});
  }
  PENSTOCK_DEVICE static float output(const Room&, int64_t, int64_t, float sum) {
    return sum * kWeightStep;
  }

  static constexpr int element(int row) { return Pairs::element(row); }
  // 16 elements of 16 values. What no query of the block sees may be anything and counts as 0.
  PENSTOCK_DEVICE static FragmentA values(const AttentionArgs& args, const AttentionBlock& block,
                                          const Room&, ValuesAt at) {
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
