// The closed-form cost of one sweep, lane by lane. Bytes are those of the built schedule, exactly
// (summed over sweeps: prefetching moves some of them to the sweep before); seconds are a model,
// good enough to choose between policies.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/lane.h"
#include "plan/layout.h"
#include "plan/memory_plan.h"

namespace penstock {

// What a sweep carries, all micro-batches together.
struct SweepLoad {
  int64_t batches = 1;
  int64_t tokens = 0, head_rows = 0;
  // One layer, where the model computes: keys of decoding rows, and of prompts the sum over tokens.
  int64_t decode_keys = 0, prompt_keys = 0;
  uint64_t gather_disk_bytes = 0, gather_upload_bytes = 0;
  uint64_t kv_read_bytes = 0, kv_write_bytes = 0;  // one layer
  uint64_t activation_bytes = 0;       // hidden rows of the micro-batches that live on disk
  uint64_t activation_head_bytes = 0;  // of those, of the micro-batches with head rows
  // Accelerator:
  uint64_t logits_bytes = 0;  // downloaded
  bool apart = false;         // attention stands apart
  // One layer: pages that come up, rows that go down and come back, keys and values that the host
  // reads.
  uint64_t kv_upload_bytes = 0, exchange_down_bytes = 0, exchange_up_bytes = 0;
  uint64_t host_attention_bytes = 0;
  // The part of the sweep that one of several devices has; they work side by side.
  double device_share = 1;
  // Hidden rows of micro-batches in host memory or on disk, each way; of those with head rows.
  uint64_t activation_move_bytes = 0, activation_move_head_bytes = 0;
};

// Arithmetic of norms and the like, against matrix products.
inline constexpr double kVectorFlopsShare = 0.1;
// Rows of a prompt's chunk that share one read of a key, where attention of prompts has not been
// measured.
inline constexpr double kPrefillKeyReuse = 8;
// Planning and building one sweep, on the host.
inline constexpr double kSweepSeconds = 1e-3;
// Submitting and joining one compute step.
double visit_seconds(const Machine& machine);

struct SweepCost {
  double seconds[kLaneKinds] = {};  // of one device, where there are several
  uint64_t bytes[kLaneKinds] = {};

  double busiest() const;  // seconds of the busiest lane
};

class CostModel {
 public:
  // Counts the work of the program once. `input` must outlive this.
  explicit CostModel(const PlanInput& input);

  SweepCost sweep(const WeightTraffic& weights, const SweepLoad& load) const;

 private:
  void count_bytes(const WeightTraffic& weights, const SweepLoad& load, SweepCost* cost) const;
  double compute_seconds(const WeightTraffic& weights, const SweepLoad& load) const;
  double gemm_seconds(const WeightTraffic& weights, const SweepLoad& load) const;
  double attention_seconds(const SweepLoad& load) const;

  const PlanInput& input_;
  double token_flops_ = 0, head_row_flops_ = 0;  // matrix products
  double token_other_flops_ = 0;
  double key_bytes_ = 0;  // K and V of a position, all layers
  double key_flops_ = 0;  // attending to it
  std::string product_;   // what the products are measured as: that of most weights
};

}  // namespace penstock
