// Descriptors of a sweep's micro-batches as kernels and lanes need them: positions, page tables,
// head rows. Made before the sweep is submitted, alive until it is over.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "device/device.h"
#include "engine/span_pages.h"
#include "io/async_io.h"
#include "kernels/params.h"
#include "store/kv_store.h"

namespace penstock {

// The spans of a micro-batch in one layer, by what is done with them and where.
struct LayerSpans {
  std::vector<SpanView> append, attend;            // where the model computes
  std::vector<SpanView> join;                      // attention begun by the host goes on
  std::vector<SpanView> host_append, host_attend;  // beside an accelerator
};

// Rows [begin, end) of a micro-batch.
struct RowRange {
  int64_t begin = 0, end = 0;
};

struct BatchBinding {
  const BatchPlan* plan = nullptr;
  std::vector<int32_t> token_ids, positions;  // [tokens]
  std::vector<SpanPages> pages;               // [span]
  std::vector<LayerSpans> layers;             // [layer]
  // [layer * spans + span]: page tables of what passes through slots, on either side.
  std::vector<std::vector<std::byte*>> host_tables, device_tables;
  std::vector<int32_t> head_rows;  // rows of the micro-batch: logits rows, then score rows
  std::vector<int32_t> targets;    // [score rows]
  std::vector<SampleRow> samples;  // among its logits rows
  // Runs of logits rows by what crosses to the host: the logits, or the tokens chosen of them.
  std::vector<RowRange> logits_down, tokens_down;
  int64_t first_head_row = 0, first_logits = 0, first_score = 0;
};

class SweepBinding {
 public:
  SweepBinding(KvStore& kv, const PageRules& rules) : kv_(kv), rules_(rules) {}

  void bind(const SweepPlan& sweep);
  const BatchBinding& batch(int index) const { return batches_.at(index); }

  // Pages of one layer that pass through slots lie there from now on, span after span: in a host
  // slot those on disk (the one that is growing is the tail), in a device slot all that came up.
  // Before this, and where there are none, the spans of the layer are complete already.
  void place_host_pages(int batch, int layer, std::byte* slot);
  void place_device_pages(int batch, int layer, std::byte* slot);

  std::vector<Transfer> page_reads(int batch, int layer, std::byte* slot) const;
  void verify_pages(int batch, int layer, const std::byte* slot) const;
  // Seals the pages that got full and describes their writes; keep_tails() then saves the begun
  // ones.
  std::vector<Transfer> page_writes(int batch, int layer, std::byte* slot);
  void keep_tails(int batch, int layer, const std::byte* slot) const;
  // Stored pages of staged spans -> device slot; `host_slot` holds those from disk.
  std::vector<CopyParams> page_uploads(int batch, int layer, const std::byte* host_slot,
                                       std::byte* device_slot) const;

  // Runs of rows that cross to the host: whose keys and values it stores, whose queries it serves,
  // and of those the ones it serves in part.
  std::vector<RowRange> stored_rows(int batch) const;
  std::vector<RowRange> hosted_rows(int batch, bool only_parts) const;

 private:
  void bind_batch(const BatchPlan& plan, BatchBinding& binding) const;
  void bind_span(BatchBinding& binding, size_t index, int32_t row) const;
  void bind_head(const BatchPlan& plan, BatchBinding& binding) const;
  void bind_logits(const SpanPlan& span, int32_t row, BatchBinding& binding) const;
  // Calls f(span index, its part of the slot) for every span with pages on disk, or brought up.
  template <class F>
  void each_disk_span(const BatchBinding& binding, std::byte* slot, F f) const;
  template <class F>
  void each_staged_span(const BatchBinding& binding, std::byte* slot, F f) const;
  int64_t device_stride() const;

  KvStore& kv_;
  PageRules rules_;
  std::deque<BatchBinding> batches_;
};

}  // namespace penstock
