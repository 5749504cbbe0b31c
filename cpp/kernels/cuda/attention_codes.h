// Partial attention over caches of 8- and 4-bit codes on tensor cores. Codes are exact in bf16;
// queries, and softmax weights times the scales of values, are sums of two bf16 (16 bits), so that
// a product is two. Scales and biases of keys join in fp32, group by group of head_dim; a bias of
// values is a term of its own.
#pragma once

#include "kernels/cuda/attention_tiles.h"

namespace penstock::cuda {

template <int kBits>
struct CodeCache {
  static constexpr bool kBias = kBits == 4;

  static constexpr int64_t groups_of(const AttentionArgs& args) {
    return blocks_of(args.view.head_dim, kKvGroup);
  }
  static size_t shared_bytes(const AttentionArgs& args) {
    const int64_t queries = query_tiles(args) * 8, groups = groups_of(args);
    const int64_t floats = queries * (kScoreStride + 2 * groups) + 2 * groups * kAttentionSegment;
    return static_cast<size_t>(floats * 4 + queries * 2 * query_bytes(args.view.head_dim));
  }

  // Shared memory.
  struct Room {
    int64_t tiles, groups, query_stride;
    float* scores;           // [query]: scores, then weights
    float *sums, *outputs;   // [query][group]: of the query, of what biases of values give
    float *scales, *biases;  // [group][key]: of values
    std::byte *high, *low;   // [query]: the two parts

    PENSTOCK_DEVICE Room(std::byte* shared, const AttentionArgs& args)
        : tiles(query_tiles(args)),
          groups(groups_of(args)),
          query_stride(query_bytes(args.view.head_dim)),
          scores(static_cast<float*>(static_cast<void*>(shared))),
          sums(scores + tiles * 8 * kScoreStride),
          outputs(sums + tiles * 8 * groups),
          scales(outputs + tiles * 8 * groups),
          biases(scales + groups * kAttentionSegment),
          high(static_cast<std::byte*>(static_cast<void*>(biases + groups * kAttentionSegment))),
          low(high + tiles * 8 * query_stride) {}
  };
  // A number as the sum of two bf16.
  struct Parts {
    uint16_t high, low;

    PENSTOCK_DEVICE explicit Parts(float value)
        : high(bf16_from_float(value)), low(bf16_from_float(value - float_from_bf16(high))) {}
  };

  // The bf16 of a code, as a signed number for 8 bits.
  PENSTOCK_DEVICE static uint16_t number(uint32_t bits) {
    const auto code = static_cast<int32_t>(bits & ((1u << kBits) - 1));
    return static_cast<uint16_t>(
        std::bit_cast<uint32_t>(static_cast<float>(kBias ? code : code - 128)) >> 16);
  }

  template <class Thread>
  PENSTOCK_DEVICE static void stage(const Thread& on, const AttentionArgs& args,
                                    const AttentionBlock& block, const Room& room) {
    stage_queries(on, args, block, room);
    stage_scales(on, args, block, room);
    if constexpr (kBias) sum_queries(on, args, block, room);
  }
  template <class Thread>
  PENSTOCK_DEVICE static void stage_queries(const Thread& on, const AttentionArgs& args,
                                            const AttentionBlock& block, const Room& room) {
    const int64_t dim = args.view.head_dim;
    for (int64_t i = on.thread(); i < room.tiles * 8 * dim; i += on.threads()) {
      const int64_t query = i / dim, d = i % dim;
      const Parts parts(query < block.queries() ? block.q(args, query)[d] : 0.0f);
      store(room.high + query * room.query_stride + d * 2, parts.high);
      store(room.low + query * room.query_stride + d * 2, parts.low);
    }
  }
  template <class Thread>
  PENSTOCK_DEVICE static void sum_queries(const Thread& on, const AttentionArgs& args,
                                          const AttentionBlock& block, const Room& room) {
    for (int64_t i = on.thread(); i < room.tiles * 8 * room.groups; i += on.threads()) {
      const int64_t query = i / room.groups, first = i % room.groups * kKvGroup;
      const int64_t end = at_most<int64_t>(args.view.head_dim, first + kKvGroup);
      float sum = 0;
      for (int64_t d = first; query < block.queries() && d < end; ++d) {
        sum += block.q(args, query)[d];
      }
      room.sums[i] = sum;
    }
  }

  // Of values that no query sees, nothing.
  template <class Thread>
  PENSTOCK_DEVICE static void stage_scales(const Thread& on, const AttentionArgs& args,
                                           const AttentionBlock& block, const Room& room) {
    const SeenKeys keys(args, block);
    for (int64_t i = on.thread(); i < room.groups * kAttentionSegment; i += on.threads()) {
      const int64_t key = i % kAttentionSegment, group = i / kAttentionSegment;
      uint32_t params = 0;
      if (keys.has(key)) {
        params = load_word(TilePlace(args, block, true, key).params + group * 4 * kKeyBlock);
      }
      room.scales[i] = low_bf16(params);
      room.biases[i] = high_bf16(params);
    }
  }

  // 16 keys, 16 elements from d on.
  PENSTOCK_DEVICE static FragmentA key_codes(const std::byte* codes, int64_t d, int lane) {
    constexpr int kWide = 32 / kBits;
    FragmentA a;
    for (int i = 0; i < 4; ++i) {
      const PlaceA place = place_a(lane, i);
      const int64_t at = d + 2 * place.word;
      const uint32_t word =
          load_word(codes + at / kWide * 4 * kKeyBlock + place.row * 4) >> (at % kWide * kBits);
      a.words[i] = pair_of(number(word), number(word >> kBits));
    }
    return a;
  }

  template <class Thread>
  PENSTOCK_DEVICE static void score_keys(const Thread& on, const AttentionArgs& args,
                                         const AttentionBlock& block, const Room& room,
                                         int64_t key_block) {
    const int lane = on.thread() % kWarp;
    const int64_t dim = args.view.head_dim;
    const TilePlace keys(args, block, false, key_block * kKeyBlock);
    QuerySums scores;
    for (int64_t group = 0; group < room.groups; ++group) {
      QuerySums sums;
      const int64_t first = group * kKvGroup;
      for (int64_t d = first; d < at_most(dim, first + kKvGroup); d += 16) {
        const FragmentA a = key_codes(keys.codes, d, lane);
        PENSTOCK_UNROLL
        for (int tile = 0; tile < kQueryTiles; ++tile) {
          if (tile >= room.tiles) break;
          const int64_t at = tile * 8 * room.query_stride + d * 2;
          on.multiply_bf16(sums[tile], a, staged_b(room.high + at, room.query_stride, lane));
          on.multiply_bf16(sums[tile], a, staged_b(room.low + at, room.query_stride, lane));
        }
      }
      add_group(room, {keys.params, group, lane}, sums, scores);
    }
    store_scores(args, scores, key_block, lane, room.scores);
  }

  struct GroupAt {
    const std::byte* params;
    int64_t group;
    int lane;
  };
  // scores += scale of the key * sums + bias of the key * sum of the query.
  PENSTOCK_DEVICE static void add_group(const Room& room, GroupAt at, const QuerySums& sums,
                                        QuerySums& scores) {
    PENSTOCK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const PlaceSum place = place_sum(at.lane, i);
      const uint32_t params = load_word(at.params + at.group * 4 * kKeyBlock + place.row * 4);
      PENSTOCK_UNROLL
      for (int tile = 0; tile < kQueryTiles; ++tile) {
        if (tile >= room.tiles) break;
        float& score = scores[tile].sums[i];
        score = fmaf(low_bf16(params), sums[tile].sums[i], score);
        if (!kBias) continue;
        const int64_t query = tile * 8 + place.column;
        score = fmaf(high_bf16(params), room.sums[query * room.groups + at.group], score);
      }
    }
  }

  // Softmax weights of a query in place of its scores; 0 for keys that it does not see. And what
  // the biases of values give.
  template <class Thread>
  PENSTOCK_DEVICE static void weigh(const Thread& on, const AttentionArgs& args,
                                    const AttentionBlock& block, const Room& room, int64_t query) {
    const int lane = on.thread() % kWarp;
    const KeyRange keys = seen_by(args, block, query);
    float* scores = room.scores + query * kScoreStride;
    AttentionState state{largest_score(on, keys, scores), 0};
    for (int64_t k = lane; k < kAttentionSegment; k += kWarp) {
      const bool seen = k >= keys.begin && k < keys.end;
      scores[k] = seen ? exp_of(scores[k] - state.max) : 0.0f;
      state.sum += scores[k];
    }
    state.sum = on.over_warp(state.sum, Add{});
    if (query < block.queries() && lane == 0) block.finish(args, query, state);
    if constexpr (kBias) add_biases(on, room, query);
  }
  template <class Thread>
  PENSTOCK_DEVICE static void add_biases(const Thread& on, const Room& room, int64_t query) {
    const float* weights = room.scores + query * kScoreStride;
    for (int64_t group = 0; group < room.groups; ++group) {
      const float* biases = room.biases + group * kAttentionSegment;
      float sum = 0;
      for (int64_t k = on.thread() % kWarp; k < kAttentionSegment; k += kWarp) {
        sum = fmaf(weights[k], biases[k], sum);
      }
      sum = on.over_warp(sum, Add{});
      if (on.thread() % kWarp == 0) room.outputs[query * room.groups + group] = sum;
    }
  }

  template <class Thread>
  PENSTOCK_DEVICE static void add(const Thread& on, const Room& room, ValuesAt at, int tile,
                                  TileSums to) {
    FragmentB high, low;
    weights(room, {at.key_block * kKeyBlock, tile, group_of(at.d_tile)}, at.lane, {high, low});
    on.multiply_bf16(to.sums, to.a, high);
    on.multiply_bf16(to.sums, to.a, low);
  }
  PENSTOCK_DEVICE static float output(const Room& room, int64_t query, int64_t d_tile, float sum) {
    return kBias ? sum + room.outputs[query * room.groups + group_of(d_tile)] : sum;
  }
  static constexpr int element(int row) { return row; }
  static constexpr int64_t group_of(int64_t d_tile) { return d_tile * 16 / kKvGroup; }

  struct WeightsAt {
    int64_t key;
    int tile;
    int64_t group;
  };
  // A scale that is not finite is nothing to a query that does not see its key.
  PENSTOCK_DEVICE static float scaled(float weight, float scale) {
    return weight == 0 ? 0.0f : weight * scale;
  }
  struct TwoParts {
    FragmentB &high, &low;
  };
  // Weights of 16 keys times the scales of their values.
  PENSTOCK_DEVICE static void weights(const Room& room, WeightsAt at, int lane, TwoParts to) {
    for (int i = 0; i < 2; ++i) {
      const PlaceB place = place_b(lane, i);
      const float* of_query = room.scores + (at.tile * 8 + place.column) * kScoreStride;
      const float* scales = room.scales + at.group * kAttentionSegment;
      const int64_t key = at.key + 2 * place.word;
      const Parts first(scaled(of_query[key], scales[key]));
      const Parts second(scaled(of_query[key + 1], scales[key + 1]));
      to.high.words[i] = pair_of(first.high, second.high);
      to.low.words[i] = pair_of(first.low, second.low);
    }
  }

  // 16 elements of 16 values: a word holds a byte of four tokens.
  PENSTOCK_DEVICE static FragmentA values(const AttentionArgs& args, const AttentionBlock& block,
                                          ValuesAt at) {
    const TilePlace from(args, block, true, at.key_block * kKeyBlock);
    FragmentA a;
    for (int i = 0; i < 4; ++i) {
      const PlaceA place = place_a(at.lane, i);
      const int64_t token = 2 * place.word, d = at.d_tile * 16 + place.row;
      const uint32_t word =
          load_word(from.codes + token / 4 * 4 * args.view.code_bytes + d * kBits / 8 * 4);
      const auto code = [&](int64_t t) { return number(word >> (t % 4 * 8 + d * kBits % 8)); };
      a.words[i] = pair_of(code(token), code(token + 1));
    }
    return a;
  }
};

}  // namespace penstock::cuda
