// Bytes and slots that the micro-batches of a sweep need, from plain values: the plan, where
// requests have their pages, and which tokens they read. The engine builds its sweeps from it, and
// so does a dry run that holds no memory; so what is predicted is what is moved.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/span_pages.h"
#include "plan/memory_plan.h"

namespace penstock {

struct ShaperParts {
  const ModelSpec* spec = nullptr;
  const WeightList* weights = nullptr;
  const MemoryPlan* memory = nullptr;
  const ResolvedPolicy* policy = nullptr;
  bool accelerator = false;
};

class SweepShaper {
 public:
  explicit SweepShaper(const ShaperParts& parts);

  std::vector<BatchShape> shapes(const SweepPlan& sweep) const;
  BuildOptions build_options() const;
  // Whether a micro-batch's pages fit into its staging slots.
  bool fits_slots(const BatchPlan& plan) const;
  const PageRules& rules() const { return rules_; }
  int vocab() const { return parts_.spec->vocab; }

 private:
  BatchShape shape(const BatchPlan& plan) const;
  void add_pages(const SpanPlan& span, BatchShape* shape) const;
  void count_keys(const SpanPlan& span, const SpanPages& pages, BatchShape* shape) const;
  void add_hidden(const BatchPlan& plan, BatchShape* shape) const;
  uint64_t table_disk_bytes(int table) const;
  int64_t row_bytes(int weight) const;

  ShaperParts parts_;
  PageRules rules_;
  int token_table_, position_table_;
};

}  // namespace penstock
