// Launches of the ops over spans: rows and pages as tables, as many spans at once as there is room
// for, and attention cut into units of a tile of queries and a segment of keys.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/cuda/attention_codes.h"
#include "kernels/cuda/attention_pairs.h"
#include "kernels/cuda/attention_scalar.h"
#include "kernels/cuda/launch_shape.h"

namespace penstock::cuda {

// Pages that a span's rows may touch.
inline int64_t pages_of(const SpanView& span, int page_tokens) {
  const int64_t end = at_most<int64_t>(span.position + span.count, span.key_end);
  return blocks_of(at_least<int64_t>(end, 0), page_tokens);
}

// Room that the tables of a span need, at most.
inline size_t table_bytes_of(const SpanView& span, int page_tokens) {
  constexpr size_t kAlignment = 16;
  const auto rows = static_cast<size_t>(span.count);
  return sizeof(SpanView) + rows * (sizeof(TiledRow) + sizeof(QueryTile)) +
         static_cast<size_t>(pages_of(span, page_tokens)) * sizeof(std::byte*) + 4 * kAlignment;
}

// Calls f(spans) for as many spans at a time as there is room for. A span by itself always goes.
template <class Launcher, class F>
void in_groups(Launcher& launcher, const SpanView* spans, int32_t count, int page_tokens, F f) {
  for (int32_t begin = 0; begin < count;) {
    if (begin > 0) launcher.reuse_tables();
    size_t bytes = table_bytes_of(spans[begin], page_tokens);
    int32_t end = begin + 1;
    while (end < count) {
      bytes += table_bytes_of(spans[end], page_tokens);
      if (bytes > launcher.table_bytes()) break;
      ++end;
    }
    f(std::vector<SpanView>(spans + begin, spans + end));
    begin = end;
  }
}

// Spans whose page tables kernels find.
template <class Launcher>
const SpanView* upload_spans(Launcher& launcher, std::vector<SpanView> spans, int page_tokens) {
  for (SpanView& span : spans) {
    span.pages = launcher.upload(span.pages, pages_of(span, page_tokens));
  }
  return launcher.upload(spans.data(), static_cast<int64_t>(spans.size()));
}

template <class Launcher>
void run(Launcher& launcher, const KvAppendParams& p) {
  const KvView view = kv_view(p.layout);
  in_groups(launcher, p.spans, p.span_count, view.page_tokens, [&](std::vector<SpanView> spans) {
    std::vector<RowPlace> rows;
    for (size_t s = 0; s < spans.size(); ++s) {
      for (int32_t i = 0; i < spans[s].count; ++i) rows.push_back({static_cast<int32_t>(s), i});
    }
    const auto count = static_cast<int64_t>(rows.size());
    KvAppendArgs args{p, view, launcher.upload(rows.data(), count), count};
    args.params.spans = upload_spans(launcher, std::move(spans), view.page_tokens);
    launcher.template launch<KvAppendKernel>(
        for_warps(count * 2 * view.kv_heads, KvAppendKernel::kThreads), args);
  });
}

// How the attention of some spans is cut.
struct AttentionCut {
  std::vector<QueryTile> tiles;
  std::vector<TiledRow> rows;
  int32_t units = 0, tile_rows = 0;

  // `most`: rows of a tile.
  AttentionCut(const AttentionParams& p, const std::vector<SpanView>& spans, int32_t most) {
    for (size_t s = 0; s < spans.size(); ++s) {
      for (int32_t row = 0; row < spans[s].count; row += most) {
        const int32_t rows = at_most(most, spans[s].count - row);
        add(p, spans[s], {static_cast<int32_t>(s), row, rows, 0, 1, 0});
      }
    }
  }

 private:
  void add(const AttentionParams& p, const SpanView& span, QueryTile tile) {
    const int64_t begin = KeyRange(p, span, tile.first_row).begin;
    const int64_t end = KeyRange(p, span, tile.first_row + tile.rows - 1).end;
    tile.first_segment = static_cast<int32_t>(begin / kAttentionSegment);
    const int64_t segments = blocks_of(end, kAttentionSegment) - tile.first_segment;
    tile.segments = static_cast<int32_t>(at_least<int64_t>(segments, 1));
    tile.first_unit = units;
    units += tile.segments;
    tile_rows = std::max(tile_rows, tile.rows);
    for (int32_t i = 0; i < tile.rows; ++i) {
      rows.push_back({static_cast<int32_t>(tiles.size()), i});
    }
    tiles.push_back(tile);
  }
};

// Units of one launch: their partial results and the running states of all rows fit the workspace.
inline int32_t units_at_once(const AttentionArgs& args, size_t workspace_bytes) {
  const auto states =
      static_cast<size_t>(args.row_count * args.params.heads) * sizeof(AttentionState);
  const auto unit =
      static_cast<size_t>(args.view.kv_heads * args.heads.parts * args.block_floats()) *
      sizeof(float);
  const size_t left = workspace_bytes > states ? workspace_bytes - states : 0;
  return static_cast<int32_t>(std::min<size_t>(left / unit, 1 << 30));
}

template <class Kernel, class Launcher>
void launch_tiles(Launcher& launcher, const AttentionArgs& args, int64_t blocks) {
  launcher.template launch<Kernel>({blocks, Kernel::kThreads, Kernel::shared_bytes(args)}, args);
}

// Partial attention on tensor cores, where a block has room for it. Whether does not follow from
// the queries, so that the bits do not. False: nothing is launched.
template <class Launcher>
bool launch_on_tiles(Launcher& launcher, const AttentionArgs& args, int64_t blocks) {
  const KvView& view = args.view;
  if (args.params.exact || !tiles_fit(view.head_dim)) return false;
  const auto launch = [&]<class Cache>(Cache) {
    const size_t most = Cache::shared_bytes(kTileQueries, view.head_dim);
    if (most > static_cast<size_t>(launcher.shared_room().block)) return false;
    launch_tiles<AttentionTilesKernel<Cache>>(launcher, args, blocks);
    return true;
  };
  if (view.quantised) {
    return view.bits == 8 ? launch(CodeCache<Codes<8>>{}) : launch(CodeCache<Codes<4>>{});
  }
  if (view.raw == DType::f32) return false;
  if (view.raw == DType::f16) return launch(PairCache<DType::f16>{});
  return launcher.bf16_tiles() ? launch(PairCache<DType::bf16>{}) : launch(CodeCache<Bf16AsF16>{});
}

template <class Launcher>
void launch_partial(Launcher& launcher, const AttentionArgs& args, int64_t blocks) {
  if (launch_on_tiles(launcher, args, blocks)) return;
  const KvView& view = args.view;
  const LaunchShape shape{blocks, kAttentionThreads, attention_shared(view.head_dim)};
  with_kv_reader(view, [&]<class Reader>(Reader) {
    launcher.template launch<AttentionKernel<Reader>>(shape, args);
  });
}

template <class Launcher>
void launch_units(Launcher& launcher, const AttentionArgs& args) {
  const int64_t blocks =
      static_cast<int64_t>(args.end_unit - args.first_unit) * args.view.kv_heads * args.heads.parts;
  launch_partial(launcher, args, blocks);
  launcher.template launch<AttentionFoldKernel>(
      for_warps(args.row_count * args.params.heads, AttentionFoldKernel::kThreads), args);
}

template <class Launcher>
void run(Launcher& launcher, const AttentionParams& p) {
  const KvView view = kv_view(p.layout);
  in_groups(launcher, p.spans, p.span_count, view.page_tokens, [&](std::vector<SpanView> spans) {
    AttentionArgs args{.params = p, .view = view, .heads = {p.heads, view.kv_heads}};
    for (const SpanView& span : spans) args.row_count += span.count;
    // Tiles that fit the workspace at least one by one.
    const size_t bytes = launcher.workspace_bytes();
    args.tile_rows = args.heads.rows_of_tile();
    while (args.tile_rows > 1 && units_at_once(args, bytes) == 0) args.tile_rows /= 2;
    const AttentionCut cut(p, spans, args.tile_rows);
    args.tile_rows = cut.tile_rows;
    args.tile_count = static_cast<int32_t>(cut.tiles.size());
    args.tiles = launcher.upload(cut.tiles.data(), args.tile_count);
    args.rows = launcher.upload(cut.rows.data(), args.row_count);
    args.params.spans = upload_spans(launcher, std::move(spans), view.page_tokens);
    const int32_t most = units_at_once(args, bytes);
    check(most > 0, "attention has room for a unit");
    std::byte* room = launcher.workspace();
    args.running = static_cast<AttentionState*>(static_cast<void*>(room));
    args.partials = static_cast<float*>(static_cast<void*>(
        room + args.row_count * p.heads * static_cast<int64_t>(sizeof(AttentionState))));
    for (int32_t unit = 0; unit < cut.units; unit = args.end_unit) {
      args.first_unit = unit;
      args.end_unit = at_most(cut.units, unit + most);
      launch_units(launcher, args);
    }
  });
}

}  // namespace penstock::cuda
