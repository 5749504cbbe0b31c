// Partial attention on tensor cores over caches whose numbers fp16 has exactly
// (attention_numbers.h). Queries, and softmax weights times the scales of values, are sums of two
// fp16, so that a product is two. Scales and biases of keys join in fp32, group by group of
// head_dim; a bias of values is a term of its own.
#pragma once

#include "kernels/cuda/attention_factors.h"
#include "kernels/cuda/attention_numbers.h"

namespace penstock::cuda {

template <class Numbers>
struct CodeCache {
  using Weights = Factor<DType::f16>;
  using Queries = StagedQueries<DType::f16>;
  static constexpr bool kBias = Numbers::kBias;

  static constexpr int64_t groups_of(int64_t head_dim) {
    return blocks_of(head_dim, Numbers::kGroup);
  }
  static constexpr size_t shared_bytes(int64_t queries, int64_t head_dim) {
    const int64_t groups = groups_of(head_dim), of_groups = (kBias ? 3 : 1) * groups;
    const int64_t params = (Numbers::kStagesKeys ? 1 : 0) + groups;
    const int64_t words = queries * (kScoreStride + of_groups) + params * kAttentionSegment;
    return static_cast<size_t>(words * 4 + Queries::bytes(queries, head_dim));
  }

  // Shared memory.
  struct Room {
    int64_t tiles, groups;
    float* scores;          // [query]: scores, then weights
    float* powers;          // [query][group]: what weights times scales are multiples of
    float *sums, *outputs;  // [query][group]: of the scaled query, of what biases of values give
    StagedParams params;
    Queries queries;

    PENSTOCK_DEVICE Room(std::byte* shared, const AttentionArgs& args)
        : tiles(query_tiles(args)),
          groups(groups_of(args.view.head_dim)),
          scores(static_cast<float*>(static_cast<void*>(shared))),
          powers(scores + tiles * 8 * kScoreStride),
          sums(powers + tiles * 8 * groups),
          outputs(sums + (kBias ? tiles * 8 * groups : 0)),
          params(params_at(outputs + (kBias ? tiles * 8 * groups : 0))),
          queries(static_cast<std::byte*>(
                      static_cast<void*>(params.values + groups * kAttentionSegment)),
                  args) {}

   private:
    PENSTOCK_DEVICE static StagedParams params_at(void* place) {
      auto* const keys = static_cast<uint32_t*>(place);
      return {keys, keys + (Numbers::kStagesKeys ? kAttentionSegment : 0)};
    }
  };

  template <class Thread>
  PENSTOCK_DEVICE static void stage(const Thread& on, const AttentionArgs& args,
                                    const AttentionBlock& block, const Room& room) {
    room.queries.stage(on, args, block);
    Numbers::stage(on, args, block, room.params);
    if constexpr (kBias) sum_queries(on, args, block, room);
  }
  template <class Thread>
  PENSTOCK_DEVICE static void sum_queries(const Thread& on, const AttentionArgs& args,
                                          const AttentionBlock& block, const Room& room) {
    for (int64_t i = on.thread(); i < room.tiles * 8 * room.groups; i += on.threads()) {
      const int64_t query = i / room.groups, first = i % room.groups * Numbers::kGroup;
      const int64_t end = at_most<int64_t>(args.view.head_dim, first + Numbers::kGroup);
      float sum = 0;
      for (int64_t d = first; query < block.queries() && d < end; ++d) {
        sum = fmaf(block.q(args, query)[d], args.params.scale, sum);
      }
      room.sums[i] = sum;
    }
  }

  template <class Thread>
  PENSTOCK_DEVICE static void score_keys(const Thread& on, const AttentionArgs& args,
                                         const AttentionBlock& block, const Room& room,
                                         int64_t key_block) {
    const int lane = on.thread() % kWarp;
    const int64_t dim = args.view.head_dim;
    const TilePlace place(args, block, false, key_block * kKeyBlock);
    TokenBlock keys{place.codes, place.params, args.view.code_bytes, lane};
    if constexpr (Numbers::kStagesKeys) {
      keys.params = static_cast<const std::byte*>(
          static_cast<const void*>(room.params.keys + key_block * kKeyBlock));
    }
    QuerySums scores;
    for (int64_t group = 0; group < room.groups; ++group) {
      QuerySums sums;
      const int64_t first = group * Numbers::kGroup;
      for (int64_t d = first; d < at_most(dim, first + Numbers::kGroup); d += 16) {
        const FragmentA a = Numbers::keys(keys, d);
        PENSTOCK_UNROLL
        for (int tile = 0; tile < kQueryTiles; ++tile) {
          if (tile >= room.tiles) break;
          Weights::multiply(on, sums[tile], a, room.queries.columns(tile, d, lane));
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
        const int64_t query = tile * 8 + place.column;
        float& score = scores[tile].sums[i];
        score = fmaf(low_bf16(params) * room.queries.scales[query], sums[tile].sums[i], score);
        if (!kBias) continue;
        score = fmaf(high_bf16(params), room.sums[query * room.groups + at.group], score);
      }
    }
  }

  // Softmax weights of a query in place of its scores; 0 for keys that it does not see. And what
  // follows from them for each group of values.
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
    for (int64_t group = 0; group < room.groups; ++group) weigh_group(on, room, query, group);
  }
  template <class Thread>
  PENSTOCK_DEVICE static void weigh_group(const Thread& on, const Room& room, int64_t query,
                                          int64_t group) {
    const int lane = on.thread() % kWarp;
    const float* weights = room.scores + query * kScoreStride;
    const uint32_t* params = room.params.values + group * kAttentionSegment;
    int32_t largest = 0;
    float sum = 0;
    for (int64_t k = lane; k < kAttentionSegment; k += kWarp) {
      largest = at_least(largest, magnitude_bits(scaled(weights[k], params[k])));
      if constexpr (kBias) sum = fmaf(weights[k], high_bf16(params[k]), sum);
    }
    largest = on.over_warp(largest, Largest{});
    if constexpr (kBias) sum = on.over_warp(sum, Add{});
    if (lane != 0) return;
    room.powers[query * room.groups + group] = power_of_two(f16_exponent(largest));
    if constexpr (kBias) room.outputs[query * room.groups + group] = sum;
  }
  // A scale that is not finite is nothing to a query that does not see its key.
  PENSTOCK_DEVICE static float scaled(float weight, uint32_t params) {
    return weight == 0 ? 0.0f : weight * low_bf16(params);
  }

  // Weights of 16 keys times the scales of their values.
  template <class Thread>
  PENSTOCK_DEVICE static void add(const Thread& on, const Room& room, ValuesAt at, int tile,
                                  TileSums to) {
    const int64_t group = group_of(at.d_tile);
    Weights::Columns columns;
    for (int i = 0; i < 2; ++i) {
      const PlaceB place = place_b(at.lane, i);
      const int64_t query = tile * 8 + place.column,
                    key = at.key_block * kKeyBlock + 2 * place.word;
      const float* weights = room.scores + query * kScoreStride + key;
      const uint32_t* params = room.params.values + group * kAttentionSegment + key;
      const float inverse = inverse_power(room.powers[query * room.groups + group]);
      columns.set(i, scaled(weights[0], params[0]) * inverse,
                  scaled(weights[1], params[1]) * inverse);
    }
    Weights::multiply(on, to.sums, to.a, columns);
  }
  PENSTOCK_DEVICE static float output(const Room& room, int64_t query, int64_t d_tile, float sum) {
    const int64_t at = query * room.groups + group_of(d_tile);
    return kBias ? fmaf(sum, room.powers[at], room.outputs[at]) : sum * room.powers[at];
  }
  static constexpr int element(int row) { return row; }
  static constexpr int64_t group_of(int64_t d_tile) { return d_tile * 16 / Numbers::kGroup; }

  PENSTOCK_DEVICE static FragmentA values(const AttentionArgs& args, const AttentionBlock& block,
                                          const Room& room, ValuesAt at) {
    const int64_t first = at.key_block * kKeyBlock;
    const uint32_t* params = room.params.values + group_of(at.d_tile) * kAttentionSegment + first;
    return Numbers::values({TilePlace(args, block, true, first).codes,
                            static_cast<const std::byte*>(static_cast<const void*>(params)),
                            args.view.code_bytes, at.lane},
                           at.d_tile * 16);
  }
};

}  // namespace penstock::cuda
