// What partial attention on tensor cores shares: scores are products of 16 keys (A) and 8 queries
// (B), outputs products of 16 elements of head_dim (A) and 8 queries (B) over the keys of the
// segment.
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/fragments.h"

namespace penstock::cuda {

inline constexpr int kAttentionWarps = 4;
inline constexpr int kQueryTiles = kTileQueries / 8;              // of a block
inline constexpr int kKeyBlocks = kAttentionSegment / kKeyBlock;  // of a segment
inline constexpr int kScoreStride = kAttentionSegment + 4;        // floats: no bank conflicts
constexpr bool tiles_fit(int64_t head_dim) { return head_dim % 16 == 0; }

// Tiles of 8 that hold the queries of the largest block.
constexpr int64_t query_tiles(const AttentionArgs& args) {
  return blocks_of(static_cast<int64_t>(args.tile_rows) * args.heads.part, 8);
}

using QuerySums = Fragment<float>[kQueryTiles];

// Keys of the segment that some query of the block sees, from the segment's first on.
struct SeenKeys {
  int64_t begin, end;

  PENSTOCK_DEVICE SeenKeys(const AttentionArgs& args, const AttentionBlock& block)
      : begin(block.keys(args, 0).begin - block.first_key),
        end(block.keys(args, block.queries() - 1).end - block.first_key) {}
  PENSTOCK_DEVICE bool has(int64_t key) const { return key >= begin && key < end; }
  PENSTOCK_DEVICE bool has_block(int64_t key_block) const {
    return begin < end && key_block * kKeyBlock < end && (key_block + 1) * kKeyBlock > begin;
  }
};

// Two neighbours a word, as multiply_bf16 takes them.
PENSTOCK_DEVICE inline uint32_t pair_of(uint16_t low, uint16_t high) {
  return low | static_cast<uint32_t>(high) << 16;
}

// B from rows of bf16, a row a column.
PENSTOCK_DEVICE inline FragmentB staged_b(const std::byte* first, int64_t stride, int lane) {
  FragmentB b;
  for (int i = 0; i < 2; ++i) {
    const PlaceB place = place_b(lane, i);
    b.words[i] = load_word(first + place.column * stride + place.word * 4);
  }
  return b;
}

// Where codes and params of a key of the segment, or of its value, are.
struct TilePlace {
  const std::byte *codes, *params;

  PENSTOCK_DEVICE TilePlace(const AttentionArgs& args, const AttentionBlock& block, bool value,
                            int64_t from_first) {
    const int64_t key = block.first_key + from_first;
    const std::byte* page = block.span.pages[key / args.view.page_tokens];
    const KvPlace place = kv_place(args.view, value, block.kv_head, key % args.view.page_tokens);
    codes = page + place.codes;
    params = page + place.params;
  }
};

// Scores of a block of keys, scaled.
PENSTOCK_DEVICE inline void store_scores(const AttentionArgs& args, const QuerySums& sums,
                                         int64_t key_block, int lane, float* scores) {
  PENSTOCK_UNROLL
  for (int tile = 0; tile < kQueryTiles; ++tile) {
    if (tile >= query_tiles(args)) break;
    for (int i = 0; i < 4; ++i) {
      const PlaceSum place = place_sum(lane, i);
      scores[(tile * 8 + place.column) * kScoreStride + key_block * kKeyBlock + place.row] =
          sums[tile].sums[i] * args.params.scale;
    }
  }
}

// The largest score of a query, over the keys that it sees; every lane of the warp has it.
template <class Thread>
PENSTOCK_DEVICE inline float largest_score(const Thread& on, const KeyRange& keys,
                                           const float* scores) {
  float largest = -INFINITY;
  for (int64_t k = on.thread() % kWarp; k < keys.end; k += kWarp) {
    if (k >= keys.begin) largest = Largest{}(largest, scores[k]);
  }
  return on.over_warp(largest, Largest{});
}

// The keys of the segment that a query sees, from the segment's first on; none of one that is not
// there.
PENSTOCK_DEVICE inline KeyRange seen_by(const AttentionArgs& args, const AttentionBlock& block,
                                        int64_t query) {
  KeyRange keys = block.keys(args, query < block.queries() ? query : 0);
  keys.begin -= block.first_key;
  keys.end = query < block.queries() ? keys.end - block.first_key : 0;
  return keys;
}

}  // namespace penstock::cuda
