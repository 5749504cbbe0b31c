// What the attention kernels share. Work is cut in two: a block folds the keys of one segment for a
// tile of queries and leaves a partial result, so that a long context keeps a whole GPU busy; then
// the partial results of every query are folded left to right. The order is that of the absolute
// segments, whatever the cuts.
#pragma once

#include "kernels/attention_state.h"
#include "kernels/cuda/kv.h"

namespace penstock::cuda {

// Rows of a span that read the same keys, and the segments with keys of any of them. A unit is one
// of those segments; units are numbered tile by tile. A tile without keys has one all the same.
struct QueryTile {
  int32_t span, first_row, rows;
  int32_t first_segment, segments;
  int32_t first_unit;
};
// A row of the micro-batch: its tile, and which of the tile's rows it is.
struct TiledRow {
  int32_t tile, row;
};

inline constexpr int kTileQueries = 32;  // (row, head) pairs of a block

// How query heads are divided: `group` of them share a KV head, `part` of those a block.
struct HeadCut {
  int32_t group, part, parts;

  constexpr HeadCut(int heads, int kv_heads)
      : group(heads / kv_heads),
        part(group < kTileQueries ? group : kTileQueries),
        parts((group + part - 1) / part) {}
  constexpr int rows_of_tile() const { return kTileQueries / part; }
};

struct AttentionArgs {
  AttentionParams params;
  KvView view;
  HeadCut heads;
  const QueryTile* tiles = nullptr;
  int32_t tile_count = 0;
  const TiledRow* rows = nullptr;
  int64_t row_count = 0;
  int32_t first_unit = 0, end_unit = 0;  // of this launch
  int32_t tile_rows = 0;                 // of the largest tile
  float* partials = nullptr;             // [block][query]: head_dim values, largest score, sum
  AttentionState* running = nullptr;     // [row, head]: of tiles that go on in the next launch

  constexpr int64_t query_floats() const { return view.head_dim + 2; }
  constexpr int64_t block_floats() const {
    return static_cast<int64_t>(tile_rows) * heads.part * query_floats();
  }
};

// The keys that a row may see, in its span's part.
struct KeyRange {
  int64_t begin, end;

  constexpr KeyRange(const AttentionParams& p, const SpanView& span, int64_t row)
      : begin(at_least<int64_t>(p.window > 0 ? span.position + row - p.window + 1 : 0,
                                at_least<int32_t>(span.key_begin, 0))),
        end(at_most<int64_t>(span.position + row + 1, span.key_end)) {}
};

// What a block works on.
struct AttentionBlock {
  const QueryTile& tile;
  const SpanView& span;
  int64_t kv_head, first_head, heads;  // query heads of the block
  int64_t first_key;                   // of the segment
  float* partials;

  PENSTOCK_DEVICE AttentionBlock(const AttentionArgs& args, int64_t block)
      : tile(tile_of(args, unit_of(args, block))),
        span(args.params.spans[tile.span]),
        kv_head(block / args.heads.parts % args.view.kv_heads),
        first_head(kv_head * args.heads.group + block % args.heads.parts * args.heads.part),
        heads(at_most<int64_t>(args.heads.part, (kv_head + 1) * args.heads.group - first_head)),
        first_key((tile.first_segment + unit_of(args, block) - tile.first_unit) *
                  int64_t{kAttentionSegment}),
        partials(args.partials + block * args.block_floats()) {}

  PENSTOCK_DEVICE int64_t queries() const { return tile.rows * heads; }
  // Of a query: its row in the span, its head.
  PENSTOCK_DEVICE int64_t row(int64_t query) const { return tile.first_row + query / heads; }
  PENSTOCK_DEVICE int64_t head(int64_t query) const { return first_head + query % heads; }
  PENSTOCK_DEVICE const float* q(const AttentionArgs& args, int64_t query) const {
    return args.params.q + (span.first_row + row(query)) * args.params.q_stride +
           head(query) * args.view.head_dim;
  }
  // The keys of the segment that a query sees.
  PENSTOCK_DEVICE KeyRange keys(const AttentionArgs& args, int64_t query) const {
    KeyRange range(args.params, span, row(query));
    range.begin = at_least(range.begin, first_key);
    range.end = at_most<int64_t>(range.end, first_key + kAttentionSegment);
    return range;
  }
  PENSTOCK_DEVICE float* partial(const AttentionArgs& args, int64_t query) const {
    return partials + query * args.query_floats();
  }
  PENSTOCK_DEVICE void finish(const AttentionArgs& args, int64_t query,
                              const AttentionState& state) const {
    float* end = partial(args, query) + args.view.head_dim;
    end[0] = state.max;
    end[1] = state.sum;
  }

  PENSTOCK_DEVICE static int64_t unit_of(const AttentionArgs& args, int64_t block) {
    return args.first_unit + block / (args.heads.parts * args.view.kv_heads);
  }
  // The last tile that does not begin behind the unit.
  PENSTOCK_DEVICE static const QueryTile& tile_of(const AttentionArgs& args, int64_t unit) {
    int32_t low = 0, high = args.tile_count;
    while (high - low > 1) {
      const int32_t middle = (low + high) / 2;
      (args.tiles[middle].first_unit <= unit ? low : high) = middle;
    }
    return args.tiles[low];
  }
};

// A warp a (row, head): the partial results of a launch, folded.
struct AttentionFoldKernel {
  static constexpr int kThreads = 128;

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const AttentionArgs& args) const {
    const AttentionParams& p = args.params;
    const int64_t task = on.block() * (on.threads() / kWarp) + on.thread() / kWarp;
    if (task >= args.row_count * p.heads) return;
    const TiledRow place = args.rows[task / p.heads];
    const QueryTile& tile = args.tiles[place.tile];
    const Units units(args, tile);
    if (units.begin >= units.end) return;
    const int64_t head = task % p.heads;
    const SpanView& span = p.spans[tile.span];
    const int64_t row = span.first_row + tile.first_row + place.row;
    float* out = p.out + row * p.out_stride + head * args.view.head_dim;
    AttentionState* handed = p.states == nullptr ? nullptr : p.states + row * p.heads + head;
    AttentionState* running = args.running + (task / p.heads) * p.heads + head;

    AttentionState begun;
    if (!units.first) begun = *running;
    if (units.first && span.resume) begun = *handed;
    AttentionState state = begun;
    const bool goes_on = !units.first || span.resume;
    for (int64_t d = on.thread() % kWarp; d < args.view.head_dim; d += kWarp) {
      state = begun;
      float value = goes_on ? out[d] : 0.0f;
      for (int64_t unit = units.begin; unit < units.end; ++unit) {
        const float* next = partial(args, {unit, place.row, head});
        value = fold(next, args.view.head_dim, d, {value, state}, ExpOf{});
      }
      out[d] = units.last && !span.partial ? value / state.sum : value;
    }
    on.over_warp(0, Add{});  // every lane has read where it begins
    if (on.thread() % kWarp != 0) return;
    if (!units.last) *running = state;
    if (units.last && span.partial) *handed = state;
  }

 private:
  // Of a tile, those of the launch.
  struct Units {
    int64_t begin, end;
    bool first, last;

    PENSTOCK_DEVICE Units(const AttentionArgs& args, const QueryTile& tile)
        : begin(at_least(tile.first_unit, args.first_unit)),
          end(at_most(tile.first_unit + tile.segments, args.end_unit)),
          first(begin == tile.first_unit),
          last(end == tile.first_unit + tile.segments) {}
  };
  struct Query {
    int64_t unit, row, head;
  };

  PENSTOCK_DEVICE static const float* partial(const AttentionArgs& args, Query query) {
    const HeadCut& cut = args.heads;
    const int64_t kv_head = query.head / cut.group, in_group = query.head % cut.group;
    const int64_t part = in_group / cut.part;
    const int64_t heads = at_most<int64_t>(cut.part, cut.group - part * cut.part);
    const int64_t block =
        ((query.unit - args.first_unit) * args.view.kv_heads + kv_head) * cut.parts + part;
    const int64_t index = query.row * heads + in_group % cut.part;
    return args.partials + block * args.block_floats() + index * args.query_floats();
  }
  struct Running {
    float value;
    AttentionState& state;
  };
  // A template because it calls one that the host shares.
  template <class Exp>
  PENSTOCK_DEVICE static float fold(const float* next, int64_t head_dim, int64_t d, Running to,
                                    Exp exp) {
    const AttentionState segment{next[head_dim], next[head_dim + 1]};
    if (segment.sum == 0) return to.value;  // no key of the query
    const FoldWeights weights = fold_state(to.state, segment, exp);
    return fmaf(next[d], weights.take, to.value * weights.keep);
  }
};

}  // namespace penstock::cuda
