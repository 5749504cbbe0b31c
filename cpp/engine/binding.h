// Descriptors of a sweep's micro-batches as kernels and lanes need them: positions, page tables,
// head rows. Made before the sweep is submitted, alive until it is over.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "engine/sweep.h"
#include "io/async_io.h"
#include "kernels/params.h"
#include "store/kv_store.h"

namespace penstock {

struct BatchBinding {
  const BatchPlan* plan = nullptr;
  std::vector<int32_t> token_ids, positions;  // [tokens]
  std::vector<std::vector<SpanView>> spans;   // [layer][span]
  std::vector<std::vector<std::byte*>>
      disk_pages;                  // [layer * spans + span]: page tables of disk-resident spans
  std::vector<int32_t> head_rows;  // rows of the micro-batch: logits rows, then score rows
  std::vector<int32_t> targets;    // [score rows]
  int64_t first_head_row = 0, first_logits = 0, first_score = 0;
};

class SweepBinding {
 public:
  explicit SweepBinding(KvStore& kv) : kv_(kv) {}

  void bind(const SweepPlan& sweep);
  const BatchBinding& batch(int index) const { return batches_.at(index); }

  // Disk-resident spans of one layer: their pages lie in `slot` from now on, span after span; page
  // disk_span().full is the tail page.
  void place_pages(int batch, int layer, std::byte* slot);
  std::vector<Transfer> page_reads(int batch, int layer, std::byte* slot) const;
  void verify_pages(int batch, int layer, const std::byte* slot) const;
  // Seals the pages that got full and describes their writes; keep_tails() then saves the begun
  // ones.
  std::vector<Transfer> page_writes(int batch, int layer, std::byte* slot);
  void keep_tails(int batch, int layer, const std::byte* slot) const;

  // Bytes of page_reads and page_writes of one layer, and of the staging slot they need.
  struct DiskBytes {
    uint64_t read = 0, write = 0, staging = 0;
    bool any = false;
  };
  DiskBytes disk_bytes(const BatchPlan& plan) const;

 private:
  void bind_batch(const BatchPlan& plan, BatchBinding& binding) const;
  void bind_head(const BatchPlan& plan, BatchBinding& binding) const;
  // Calls f(span, index, its part of the slot) for every disk-resident span.
  template <class F>
  void each_disk_span(const BatchPlan& plan, std::byte* slot, F f) const;

  KvStore& kv_;
  std::deque<BatchBinding> batches_;
};

}  // namespace penstock
