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
// Whether fragments fit a head, and what is staged of 32 queries the shared memory of every GPU
// but Turing (99 KiB).
constexpr bool tiles_fit(int64_t head_dim) { return head_dim % 16 == 0 && head_dim <= 256; }

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

// Scores of a block of keys.
PENSTOCK_DEVICE inline void store_scores(const AttentionArgs& args, const QuerySums& sums,
                                         int64_t key_block, int lane, float* scores) {
  PENSTOCK_UNROLL
  for (int tile = 0; tile < kQueryTiles; ++tile) {
    if (tile >= query_tiles(args)) break;
    for (int i = 0; i < 4; ++i) {
      const PlaceSum place = place_sum(lane, i);
      scores[(tile * 8 + place.column) * kScoreStride + key_block * kKeyBlock + place.row] =
          sums[tile].sums[i];
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

// A of a product, and where it goes.
struct TileSums {
  const FragmentA& a;
  Fragment<float>& sums;
};

// A tile of a product over the keys of a block: which keys, which 16 elements of head_dim.
struct ValuesAt {
  int64_t key_block, d_tile;
  int lane;
};

// The course of a block. Cache says how pages are read:
//   Room(shared, args)                               shared memory, with `tiles`
//   shared_bytes(queries, head_dim)
//   stage(on, args, block, room)                     queries and what else is wanted of all keys
//   score_keys(on, args, block, room, key_block)     scores of 16 keys
//   weigh(on, args, block, room, query)              scores become softmax weights
//   values(args, block, room, at)                    A of 16 values
//   add(on, room, at, tile, {a, sums})               sums += A times the weights of 8 queries
//   output(room, query, d_tile, sum)                 of a product's sum
//   element(row)                                     of d_tile, in a row of A
template <class Cache>
struct AttentionTilesKernel {
  static constexpr int kThreads = kAttentionWarps * kWarp;
  static size_t shared_bytes(const AttentionArgs& args) {
    return Cache::shared_bytes(query_tiles(args) * 8, args.view.head_dim);
  }

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const AttentionArgs& args) const {
    const AttentionBlock block(args, on.block());
    const typename Cache::Room room(on.shared(), args);
    const SeenKeys keys(args, block);
    const int warp = on.thread() / kWarp;
    Cache::stage(on, args, block, room);
    on.sync();
    for (int64_t at = warp; at < kKeyBlocks; at += kAttentionWarps) {
      if (keys.has_block(at)) Cache::score_keys(on, args, block, room, at);
    }
    on.sync();
    for (int64_t query = warp; query < room.tiles * 8; query += kAttentionWarps) {
      Cache::weigh(on, args, block, room, query);
    }
    on.sync();
    for (int64_t at = warp; at < args.view.head_dim / 16; at += kAttentionWarps) {
      add_values(on, args, block, room, at);
    }
  }

 private:
  // Outputs of 16 elements of head_dim.
  template <class Thread, class Room>
  PENSTOCK_DEVICE static void add_values(const Thread& on, const AttentionArgs& args,
                                         const AttentionBlock& block, const Room& room,
                                         int64_t d_tile) {
    const SeenKeys keys(args, block);
    const int lane = on.thread() % kWarp;
    QuerySums sums;
    for (int64_t key_block = 0; key_block < kKeyBlocks; ++key_block) {
      if (!keys.has_block(key_block)) continue;
      const ValuesAt at{key_block, d_tile, lane};
      const FragmentA a = Cache::values(args, block, room, at);
      PENSTOCK_UNROLL
      for (int tile = 0; tile < kQueryTiles; ++tile) {
        if (tile < room.tiles) Cache::add(on, room, at, tile, {a, sums[tile]});
      }
    }
    PENSTOCK_UNROLL
    for (int tile = 0; tile < kQueryTiles; ++tile) {
      for (int i = 0; i < 4; ++i) {
        const PlaceSum place = place_sum(lane, i);
        const int64_t query = tile * 8 + place.column;
        if (query >= block.queries()) continue;
        block.partial(args, query)[d_tile * 16 + Cache::element(place.row)] =
            Cache::output(room, query, d_tile, sums[tile].sums[i]);
      }
    }
  }
};

}  // namespace penstock::cuda
