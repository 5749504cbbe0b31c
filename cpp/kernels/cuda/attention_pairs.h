// Partial attention over bf16 caches on tensor cores. Pages are fragments of A as they lie in
// memory. Queries and softmax weights are rounded to bf16. (A value that is not finite spoils the
// rows before it that share its tile.)
#pragma once

#include "kernels/cuda/attention_tiles.h"

namespace penstock::cuda {

struct PairCache {
  static constexpr int kWeightStride = kAttentionSegment + 8;  // bf16: no bank conflicts

  static size_t shared_bytes(const AttentionArgs& args) {
    const int64_t each = kScoreStride * 4 + kWeightStride * 2 + query_bytes(args.view.head_dim);
    return static_cast<size_t>(query_tiles(args) * 8 * each);
  }

  // Shared memory: of every query its scores, its weights, itself.
  struct Room {
    int64_t tiles, query_stride;
    float* scores;
    std::byte *weights, *queries;

    PENSTOCK_DEVICE Room(std::byte* shared, const AttentionArgs& args)
        : tiles(query_tiles(args)),
          query_stride(query_bytes(args.view.head_dim)),
          scores(static_cast<float*>(static_cast<void*>(shared))),
          weights(shared + tiles * 8 * kScoreStride * 4),
          queries(weights + tiles * 8 * kWeightStride * 2) {}
  };
  template <class Thread>
  PENSTOCK_DEVICE static void stage(const Thread& on, const AttentionArgs& args,
                                    const AttentionBlock& block, const Room& room) {
    const int64_t dim = args.view.head_dim;
    for (int64_t i = on.thread(); i < room.tiles * 8 * dim; i += on.threads()) {
      const int64_t query = i / dim, d = i % dim;
      const float value = query < block.queries() ? block.q(args, query)[d] : 0.0f;
      store(room.queries + query * room.query_stride + d * 2, bf16_from_float(value));
    }
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
        const std::byte* queries = room.queries + tile * 8 * room.query_stride + d * 2;
        on.multiply_bf16(sums[tile], a, staged_b(queries, room.query_stride, lane));
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
    AttentionState state{largest_score(on, keys, scores), 0};
    for (int64_t k = on.thread() % kWarp; k < kAttentionSegment; k += kWarp) {
      const bool seen = k >= keys.begin && k < keys.end;
      const uint16_t weight = bf16_from_float(seen ? exp_of(scores[k] - state.max) : 0.0f);
      store(room.weights + (query * kWeightStride + k) * 2, weight);
      state.sum += float_from_bf16(weight);
    }
    state.sum = on.over_warp(state.sum, Add{});
    if (query < block.queries() && on.thread() % kWarp == 0) block.finish(args, query, state);
  }

  template <class Thread>
  PENSTOCK_DEVICE static void add(const Thread& on, const Room& room, ValuesAt at, int tile,
                                  TileSums to) {
    const std::byte* weights =
        room.weights + (tile * 8 * kWeightStride + at.key_block * kKeyBlock) * 2;
    on.multiply_bf16(to.sums, to.a, staged_b(weights, kWeightStride * 2, at.lane));
  }
  PENSTOCK_DEVICE static float bias(const Room&, int64_t, int64_t) { return 0; }

  // 16 elements of 16 values: a word holds an element of two tokens. What no query of the block
  // sees may be anything and counts as 0.
  PENSTOCK_DEVICE static FragmentA values(const AttentionArgs& args, const AttentionBlock& block,
                                          ValuesAt at) {
    const SeenKeys keys(args, block);
    const int64_t first = at.key_block * kKeyBlock;
    const TilePlace from(args, block, true, first);
    FragmentA a;
    for (int i = 0; i < 4; ++i) {
      const PlaceA place = place_a(at.lane, i);
      const int64_t token = 2 * place.word, d = at.d_tile * 16 + place.row;
      uint32_t word = load_word(from.codes + token * args.view.code_bytes + d * 4);
      if (!keys.has(first + token)) word &= 0xffff0000u;
      if (!keys.has(first + token + 1)) word &= 0x0000ffffu;
      a.words[i] = word;
    }
    return a;
  }
};

}  // namespace penstock::cuda
