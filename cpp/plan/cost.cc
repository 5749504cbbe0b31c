#include "plan/cost.h"

#include <algorithm>

namespace penstock {
namespace {

constexpr double kVectorFlopsShare = 0.1;     // norms and the like, against matrix products
constexpr double kBatchVisitSeconds = 20e-6;  // submitting and joining one compute step

WorkCount total_work(const PlanInput& input, const ModuleWork& work) {
  WorkCount sum;
  for (const Module& module : input.program->modules) {
    const WorkCount one = count_work(module, *input.spec, *input.weights, work);
    sum.gemm_flops += one.gemm_flops;
    sum.other_flops += one.other_flops;
    sum.kv_read_values += one.kv_read_values;
  }
  return sum;
}

constexpr int index(LaneKind kind) { return static_cast<int>(kind); }

}  // namespace

double SweepCost::busiest() const {
  return *std::max_element(std::begin(seconds), std::end(seconds));
}

CostModel::CostModel(const PlanInput& input) : input_(input) {
  const WorkCount token = total_work(input, {1, 0, 0});
  token_flops_ = token.gemm_flops;
  token_other_flops_ = token.other_flops;
  head_row_flops_ = total_work(input, {0, 1, 0}).gemm_flops;
  key_values_ = total_work(input, {0, 0, 1}).kv_read_values;
  KvLayout kv{input.kv, input.spec->attention.kv_heads, input.spec->attention.head_dim, 32};
  const double values = 2.0 * kv.page_tokens * kv.kv_heads * kv.head_dim;
  kv_value_bytes_ = static_cast<double>(kv.page_bytes()) / values;
}

double CostModel::compute_seconds(const WeightTraffic& weights, const SweepLoad& load) const {
  const Machine& machine = input_.machine;
  const auto tokens = static_cast<double>(load.tokens), batches = static_cast<double>(load.batches);
  const double flops = token_flops_ * tokens +
                       head_row_flops_ * static_cast<double>(load.head_rows) +
                       token_other_flops_ * tokens / kVectorFlopsShare;
  const double key_bytes = key_values_ * static_cast<double>(load.key_positions) * kv_value_bytes_;
  uint64_t weight_bytes = weights.matrix_bytes;
  if (load.head_rows == 0) weight_bytes -= weights.head_matrix_bytes;
  return flops / machine.gemm_flops_per_second + key_bytes / machine.attention_bytes_per_second +
         batches * static_cast<double>(weight_bytes) / machine.host_copy_bytes_per_second +
         batches * static_cast<double>(weights.visits) * kBatchVisitSeconds;
}

SweepCost CostModel::sweep(const WeightTraffic& weights, const SweepLoad& load) const {
  const bool head = load.head_rows > 0;
  const int64_t visits = weights.visits - weights.head_visits;
  const auto passes = static_cast<uint64_t>(std::max<int64_t>(0, visits - 1));
  const auto attentions = static_cast<uint64_t>(weights.attention_visits);
  const uint64_t hidden = passes * load.activation_bytes + load.activation_head_bytes;
  SweepCost cost;
  cost.bytes[index(LaneKind::disk_read)] =
      weights.disk_bytes - (head ? 0 : weights.head_disk_bytes) + load.gather_disk_bytes +
      attentions * load.kv_read_bytes + hidden;
  cost.bytes[index(LaneKind::disk_write)] = attentions * load.kv_write_bytes + hidden;
  cost.bytes[index(LaneKind::h2d)] =
      weights.upload_bytes - (head ? 0 : weights.head_upload_bytes) + load.gather_upload_bytes;
  cost.bytes[index(LaneKind::d2h)] = head ? load.logits_bytes : 0;
  const Machine& machine = input_.machine;
  const auto seconds = [&](LaneKind lane, double bytes_per_second) {
    cost.seconds[index(lane)] = static_cast<double>(cost.bytes[index(lane)]) / bytes_per_second;
  };
  seconds(LaneKind::disk_read, machine.disk_read_bytes_per_second);
  seconds(LaneKind::disk_write, machine.disk_write_bytes_per_second);
  seconds(LaneKind::h2d, machine.h2d_bytes_per_second);
  seconds(LaneKind::d2h, machine.d2h_bytes_per_second);
  cost.seconds[index(LaneKind::compute)] = compute_seconds(weights, load);
  return cost;
}

}  // namespace penstock
