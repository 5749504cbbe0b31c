// From params to launches: geometry, and tables of the host that kernels read. A Launcher gives
//   template <class Kernel, class Args> void launch(const LaunchShape&, const Args&)
//   template <class T> const T* upload(const T* table, int64_t count)
//                            where kernels of this op find a table of the host; null stays null
//   bool bf16_tiles()        whether multiply_bf16 is there
#pragma once

#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/gemm_float.h"
#include "kernels/cuda/gemm_tensor.h"
#include "kernels/cuda/rows.h"

namespace penstock::cuda {

// One thread for each of `count` elements.
inline LaunchShape for_elements(int64_t count) {
  return {blocks_of(count, kElementThreads), kElementThreads, 0};
}
// One warp for each of `count` tasks.
inline LaunchShape for_warps(int64_t count, int threads) {
  return {blocks_of(count, threads / kWarp), threads, 0};
}

template <class Launcher>
void run(Launcher& launcher, const EmbedParams& p) {
  launcher.template launch<EmbedKernel>(for_elements(p.m * p.dim), p);
}

template <class Launcher>
void run(Launcher& launcher, const NormParams& p) {
  launcher.template launch<NormKernel>({p.m, kRowThreads, kRowShared}, p);
}

template <class Launcher>
void run(Launcher& launcher, const PrepareParams& p) {
  if (p.layout.kind == InputKind::int8) {
    return launcher.template launch<PrepareCodesKernel>(
        for_warps(p.m * p.layout.blocks, kRowThreads), p);
  }
  launcher.template launch<PrepareRawKernel>(for_elements(p.m * p.layout.padded_k), p);
}

template <class Launcher>
void run(Launcher& launcher, const GatedParams& p) {
  launcher.template launch<GatedKernel>(for_elements(p.m * p.dim), p);
}

template <class Launcher>
void run(Launcher& launcher, RotaryParams p) {
  p.positions = launcher.upload(p.positions, p.m);
  launcher.template launch<RotaryKernel>(for_elements(p.m * p.heads * (p.rotary_dim / 2)), p);
}

template <class Launcher>
void run(Launcher& launcher, GatherRowsParams p) {
  p.rows = launcher.upload(p.rows, p.m);
  launcher.template launch<GatherKernel>(for_elements(p.m * p.dim), p);
}

template <class Launcher>
void run(Launcher& launcher, ScoreParams p) {
  p.targets = launcher.upload(p.targets, p.m);
  launcher.template launch<ScoreKernel>({p.m, ScoreKernel::kThreads, kRowShared}, p);
}

template <class Launcher>
void run(Launcher& launcher, GemmParams p) {
  const WeightView view = weight_view(p.format, p.k);
  int64_t row_blocks = 0;
  for (int i = 0; i < p.panel_count; ++i) {
    row_blocks += blocks_of(p.panels[i].row_end - p.panels[i].row_begin, kBlockRows);
  }
  p.panels = launcher.upload(p.panels, p.panel_count);
  const GemmArgs args{p, view, row_blocks};
  const int64_t blocks = row_blocks * blocks_of(p.m, kBlockInputs);
  const auto tensor = [&](size_t shared) { return LaunchShape{blocks, kTensorThreads, shared}; };
  if (p.input.kind == InputKind::int8 && view.bits == 8) {
    using Kernel = GemmCodesKernel<8>;
    return launcher.template launch<Kernel>(tensor(Kernel::kShared), args);
  }
  if (p.input.kind == InputKind::int8) {
    using Kernel = GemmCodesKernel<4>;
    return launcher.template launch<Kernel>(tensor(Kernel::kShared), args);
  }
  if (p.input.kind == InputKind::bf16 && launcher.bf16_tiles()) {
    return launcher.template launch<GemmBf16Kernel>(tensor(GemmBf16Kernel::kShared), args);
  }
  launcher.template launch<GemmFloatKernel>(
      {blocks, GemmFloatKernel::kThreads, GemmFloatKernel::kShared}, args);
}

// Spans with tables of pages where kernels find them, and which span each row is of.
struct SpanTables {
  const SpanView* spans;
  const RowPlace* rows;
  int64_t row_count;
};
template <class Launcher>
SpanTables upload_spans(Launcher& launcher, const SpanView* spans, int32_t count, int page_tokens) {
  std::vector<SpanView> views(spans, spans + count);
  std::vector<RowPlace> rows;
  for (int32_t s = 0; s < count; ++s) {
    SpanView& view = views[static_cast<size_t>(s)];
    const int64_t end = at_most<int64_t>(view.position + view.count, view.key_end);
    view.pages = launcher.upload(view.pages, blocks_of(at_least<int64_t>(end, 0), page_tokens));
    for (int32_t i = 0; i < view.count; ++i) rows.push_back({s, i});
  }
  return {launcher.upload(views.data(), count),
          launcher.upload(rows.data(), static_cast<int64_t>(rows.size())),
          static_cast<int64_t>(rows.size())};
}

template <class Launcher>
void run(Launcher& launcher, KvAppendParams p) {
  const KvView view = kv_view(p.layout);
  const SpanTables tables = upload_spans(launcher, p.spans, p.span_count, view.page_tokens);
  p.spans = tables.spans;
  launcher.template launch<KvAppendKernel>(
      for_warps(tables.row_count * 2 * view.kv_heads, KvAppendKernel::kThreads),
      KvAppendArgs{p, view, tables.rows, tables.row_count});
}

template <class Launcher>
void run(Launcher& launcher, AttentionParams p) {
  const KvView view = kv_view(p.layout);
  const SpanTables tables = upload_spans(launcher, p.spans, p.span_count, view.page_tokens);
  p.spans = tables.spans;
  const LaunchShape shape{tables.row_count * p.heads, kAttentionThreads,
                          attention_shared(view.head_dim)};
  with_kv_reader(view, [&]<class Reader>(Reader) {
    launcher.template launch<AttentionKernel<Reader>>(shape, AttentionArgs{p, view, tables.rows});
  });
}

}  // namespace penstock::cuda
