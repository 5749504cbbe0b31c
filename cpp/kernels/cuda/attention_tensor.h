// Partial attention over bf16 caches on tensor cores: scores are products of 16 keys (A) and 8
// queries (B), outputs products of 16 elements of head_dim (A) and 8 queries (B) over the keys.
// Pages are fragments of A as they lie in memory. Queries and softmax weights are rounded to bf16.
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/fragments.h"

namespace penstock::cuda {

struct AttentionTensorKernel {
  static constexpr int kThreads = 128, kWarps = kThreads / kWarp;
  static constexpr int kTiles = kTileQueries / 8;              // of 8 queries
  static constexpr int kScoreStride = kAttentionSegment + 4;   // floats
  static constexpr int kWeightStride = kAttentionSegment + 8;  // bf16

  // Whether fragments fit the head.
  static constexpr bool takes(int64_t head_dim) { return head_dim % 16 == 0; }
  static size_t shared_bytes(int64_t head_dim, int64_t queries) {
    const auto rows = static_cast<size_t>(blocks_of(queries, 8) * 8);
    return rows * (kScoreStride * 4 + kWeightStride * 2 + query_bytes(head_dim));
  }

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const AttentionArgs& args) const {
    const AttentionBlock block(args, on.block());
    const Room room(on.shared(), args);
    const Keys keys(args, block);
    stage_queries(on, args, block, room);
    on.sync();
    for (int64_t at = on.thread() / kWarp; at < kAttentionSegment / kKeyBlock; at += kWarps) {
      if (keys.has(at)) score_keys(on, args, block, room, at);
    }
    on.sync();
    for (int64_t query = on.thread() / kWarp; query < room.tiles * 8; query += kWarps) {
      weigh(on, args, block, room, query);
    }
    on.sync();
    for (int64_t at = on.thread() / kWarp; at < args.view.head_dim / 16; at += kWarps) {
      add_values(on, args, block, {room, keys}, at);
    }
  }

 private:
  // Bytes of a staged query: no bank conflicts.
  static constexpr int64_t query_bytes(int64_t head_dim) { return head_dim * 2 + 16; }

  // Shared memory: of every query its scores, its weights, itself.
  struct Room {
    int64_t tiles, query_stride;
    float* scores;
    std::byte *weights, *queries;

    PENSTOCK_DEVICE Room(std::byte* shared, const AttentionArgs& args)
        : tiles(blocks_of(static_cast<int64_t>(args.tile_rows) * args.heads.part, 8)),
          query_stride(query_bytes(args.view.head_dim)),
          scores(static_cast<float*>(static_cast<void*>(shared))),
          weights(shared + tiles * 8 * kScoreStride * 4),
          queries(weights + tiles * 8 * kWeightStride * 2) {}
  };

  // Keys of the segment that some query of the tile sees.
  struct Keys {
    int64_t begin, end;  // from the segment's first

    PENSTOCK_DEVICE Keys(const AttentionArgs& args, const AttentionBlock& block) {
      const KeyRange first = block.keys(args, 0), last = block.keys(args, block.queries() - 1);
      begin = first.begin - block.first_key;
      end = last.end - block.first_key;
    }
    PENSTOCK_DEVICE bool has(int64_t key_block) const {
      return begin < end && key_block * kKeyBlock < end && (key_block + 1) * kKeyBlock > begin;
    }
  };
  struct Values {
    const Room& room;
    const Keys& keys;
  };

  template <class Thread>
  PENSTOCK_DEVICE static void stage_queries(const Thread& on, const AttentionArgs& args,
                                            const AttentionBlock& block, const Room& room) {
    const int64_t dim = args.view.head_dim;
    for (int64_t i = on.thread(); i < room.tiles * 8 * dim; i += on.threads()) {
      const int64_t query = i / dim, d = i % dim;
      const float value = query < block.queries() ? block.q(args, query)[d] : 0.0f;
      store(room.queries + query * room.query_stride + d * 2, bf16_from_float(value));
    }
  }

  PENSTOCK_DEVICE static FragmentB fragment_b(const std::byte* first, int64_t stride, int lane) {
    FragmentB b;
    for (int i = 0; i < 2; ++i) {
      const PlaceB place = place_b(lane, i);
      b.words[i] = load_word(first + place.column * stride + place.word * 4);
    }
    return b;
  }

  // Where a block of keys begins in its page: codes of keys or of values of the head.
  PENSTOCK_DEVICE static const std::byte* codes(const AttentionArgs& args,
                                                const AttentionBlock& block, bool value,
                                                int64_t key) {
    const KvView& view = args.view;
    const std::byte* page = block.span.pages[key / view.page_tokens];
    return page + kv_place(view, value, block.kv_head, key % view.page_tokens).codes;
  }

  // Scaled scores of 16 keys.
  template <class Thread>
  PENSTOCK_DEVICE static void score_keys(const Thread& on, const AttentionArgs& args,
                                         const AttentionBlock& block, const Room& room,
                                         int64_t key_block) {
    const int lane = on.thread() % kWarp;
    const std::byte* keys = codes(args, block, false, block.first_key + key_block * kKeyBlock);
    Fragment<float> sums[kTiles];
    for (int64_t d = 0; d < args.view.head_dim; d += 16) {
      FragmentA a;
      for (int i = 0; i < 4; ++i) {
        const PlaceA place = place_a(lane, i);
        a.words[i] = load_word(keys + (d / 2 + place.word) * 4 * kKeyBlock + place.row * 4);
      }
      PENSTOCK_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        if (tile >= room.tiles) break;
        const std::byte* queries = room.queries + tile * 8 * room.query_stride + d * 2;
        on.multiply_bf16(sums[tile], a, fragment_b(queries, room.query_stride, lane));
      }
    }
    PENSTOCK_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      if (tile >= room.tiles) break;
      for (int i = 0; i < 4; ++i) {
        const PlaceSum place = place_sum(lane, i);
        room.scores[(tile * 8 + place.column) * kScoreStride + key_block * kKeyBlock + place.row] =
            sums[tile].sums[i] * args.params.scale;
      }
    }
  }

  // Softmax weights of a query; none for keys that it does not see.
  template <class Thread>
  PENSTOCK_DEVICE static void weigh(const Thread& on, const AttentionArgs& args,
                                    const AttentionBlock& block, const Room& room, int64_t query) {
    const bool real = query < block.queries();
    const KeyRange keys = block.keys(args, real ? query : 0);
    const int64_t begin = keys.begin - block.first_key;
    const int64_t end = real ? keys.end - block.first_key : 0;
    const float* scores = room.scores + query * kScoreStride;
    AttentionState state;
    for (int64_t k = on.thread() % kWarp; k < end; k += kWarp) {
      if (k >= begin) state.max = Largest{}(state.max, scores[k]);
    }
    state.max = on.over_warp(state.max, Largest{});
    for (int64_t k = on.thread() % kWarp; k < kAttentionSegment; k += kWarp) {
      const bool seen = k >= begin && k < end;
      const uint16_t weight = bf16_from_float(seen ? exp_of(scores[k] - state.max) : 0.0f);
      store(room.weights + (query * kWeightStride + k) * 2, weight);
      state.sum += float_from_bf16(weight);
    }
    state.sum = on.over_warp(state.sum, Add{});
    if (real && on.thread() % kWarp == 0) block.finish(args, query, state);
  }

  // Outputs of 16 elements of head_dim.
  template <class Thread>
  PENSTOCK_DEVICE static void add_values(const Thread& on, const AttentionArgs& args,
                                         const AttentionBlock& block, const Values& of,
                                         int64_t d_tile) {
    const int lane = on.thread() % kWarp;
    const Room& room = of.room;
    Fragment<float> sums[kTiles];
    for (int64_t at = 0; at < kAttentionSegment / kKeyBlock; ++at) {
      if (!of.keys.has(at)) continue;
      const FragmentA a = values(args, block, of.keys, {at, d_tile, lane});
      PENSTOCK_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        if (tile >= room.tiles) break;
        const std::byte* weights = room.weights + (tile * 8 * kWeightStride + at * kKeyBlock) * 2;
        on.multiply_bf16(sums[tile], a, fragment_b(weights, kWeightStride * 2, lane));
      }
    }
    PENSTOCK_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      for (int i = 0; i < 4; ++i) {
        const PlaceSum place = place_sum(lane, i);
        const int64_t query = tile * 8 + place.column;
        if (query >= block.queries()) continue;
        block.partial(args, query)[d_tile * 16 + place.row] = sums[tile].sums[i];
      }
    }
  }

  struct ValuesAt {
    int64_t key_block, d_tile;
    int lane;
  };
  // 16 elements of 16 values: a word holds an element of two tokens. What no query of the tile sees
  // may be anything and counts as 0.
  PENSTOCK_DEVICE static FragmentA values(const AttentionArgs& args, const AttentionBlock& block,
                                          const Keys& keys, ValuesAt at) {
    const int64_t first = at.key_block * kKeyBlock;
    const std::byte* codes_of = codes(args, block, true, block.first_key + first);
    FragmentA a;
    for (int i = 0; i < 4; ++i) {
      const PlaceA place = place_a(at.lane, i);
      const int64_t token = 2 * place.word, d = at.d_tile * 16 + place.row;
      uint32_t word = load_word(codes_of + token * args.view.code_bytes + d * 4);
      const auto seen = [&](int64_t k) { return k >= keys.begin && k < keys.end; };
      if (!seen(first + token)) word &= 0xffff0000u;
      if (!seen(first + token + 1)) word &= 0x0000ffffu;
      a.words[i] = word;
    }
    return a;
  }
};

}  // namespace penstock::cuda
