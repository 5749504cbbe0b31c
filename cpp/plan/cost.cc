#include "plan/cost.h"

#include <algorithm>
#include <map>

namespace penstock {
namespace {

constexpr double kBatchVisitSeconds = 20e-6;  // where a step has not been measured

WorkCount total_work(const PlanInput& input, const ModuleWork& work) {
  WorkCount sum;
  for (const Module& module : input.program->modules) {
    const WorkCount one = count_work(module, *input.spec, *input.weights, work);
    sum.gemm_flops += one.gemm_flops;
    sum.other_flops += one.other_flops;
    sum.kv_read_values += one.kv_read_values;
    sum.attention_flops += one.attention_flops;
  }
  return sum;
}

std::string main_product(const PlanInput& input) {
  std::map<FormatId, int64_t> values;
  for (const WeightInfo& info : input.weights->all()) {
    if (info.kind == WeightKind::matrix) values[input.formats.at(info.id)] += info.rows * info.cols;
  }
  if (values.empty()) return {};
  const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  const QuantFormat& most = format(std::max_element(values.begin(), values.end(), less)->first);
  return product_name(most, input.compute, input.invariant);
}

constexpr int index(LaneKind kind) { return static_cast<int>(kind); }

}  // namespace

double visit_seconds(const Machine& machine) {
  return machine.step_seconds > 0 ? machine.step_seconds : kBatchVisitSeconds;
}

double SweepCost::busiest() const {
  return *std::max_element(std::begin(seconds), std::end(seconds));
}

CostModel::CostModel(const PlanInput& input) : input_(input) {
  const WorkCount token = total_work(input, {1, 0, 0});
  token_flops_ = token.gemm_flops;
  token_other_flops_ = token.other_flops;
  head_row_flops_ = total_work(input, {0, 1, 0}).gemm_flops;
  const WorkCount key = total_work(input, {0, 0, 1});
  KvLayout kv{input.kv, input.spec->attention.kv_heads, input.spec->attention.head_dim, 32};
  const double values = 2.0 * kv.page_tokens * kv.kv_heads * kv.head_dim;
  key_bytes_ = key.kv_read_values * static_cast<double>(kv.page_bytes()) / values;
  key_flops_ = key.attention_flops;
  product_ = main_product(input);
}

// Products; where their rate has not been measured, reading the weights counts apart.
double CostModel::gemm_seconds(const WeightTraffic& weights, const SweepLoad& load) const {
  const Machine& machine = input_.machine;
  const auto tokens = static_cast<double>(load.tokens), batches = static_cast<double>(load.batches);
  const auto head_rows = static_cast<double>(load.head_rows);
  const double measured = machine.gemm_rate(product_, tokens / batches);
  if (measured > 0) {
    const double head = machine.gemm_rate(product_, std::max(1.0, head_rows / batches));
    return token_flops_ * tokens / measured + head_row_flops_ * head_rows / head;
  }
  uint64_t weight_bytes = weights.matrix_bytes;
  if (load.head_rows == 0) weight_bytes -= weights.head_matrix_bytes;
  return (token_flops_ * tokens + head_row_flops_ * head_rows) / machine.gemm_flops_per_second +
         batches * static_cast<double>(weight_bytes) / machine.host_copy_bytes_per_second;
}

double CostModel::attention_seconds(const SweepLoad& load) const {
  const Machine& machine = input_.machine;
  const double rate = machine.attention_rate(format(input_.kv).name);
  const auto prompt = static_cast<double>(load.prompt_keys);
  const double decode = static_cast<double>(load.decode_keys) * key_bytes_ / rate;
  if (machine.attention_flops_per_second > 0) {
    return decode + prompt * key_flops_ / machine.attention_flops_per_second;
  }
  return decode + prompt / kPrefillKeyReuse * key_bytes_ / rate;
}

double CostModel::compute_seconds(const WeightTraffic& weights, const SweepLoad& load) const {
  const auto tokens = static_cast<double>(load.tokens), batches = static_cast<double>(load.batches);
  const double other_flops = token_other_flops_ * tokens / kVectorFlopsShare;
  return gemm_seconds(weights, load) + other_flops / input_.machine.gemm_flops_per_second +
         attention_seconds(load) +
         batches * static_cast<double>(weights.visits) * visit_seconds(input_.machine);
}

void CostModel::count_bytes(const WeightTraffic& weights, const SweepLoad& load,
                            SweepCost* cost) const {
  const bool head = load.head_rows > 0;
  const auto attentions = static_cast<uint64_t>(weights.attention_visits);
  // Times that hidden rows pass from one visit to another.
  int64_t passes = std::max<int64_t>(0, weights.visits - weights.head_visits - 1);
  if (load.apart && attentions > 0) passes -= static_cast<int64_t>(attentions) - 1;
  const auto times = static_cast<uint64_t>(passes);
  const uint64_t spilled = times * load.activation_bytes + load.activation_head_bytes;
  const uint64_t moved = times * load.activation_move_bytes + load.activation_move_head_bytes;
  auto& bytes = cost->bytes;
  bytes[index(LaneKind::disk_read)] = weights.disk_bytes - (head ? 0 : weights.head_disk_bytes) +
                                      load.gather_disk_bytes + attentions * load.kv_read_bytes +
                                      spilled;
  bytes[index(LaneKind::disk_write)] = attentions * load.kv_write_bytes + spilled;
  bytes[index(LaneKind::h2d)] =
      weights.upload_bytes - (head ? 0 : weights.head_upload_bytes) + load.gather_upload_bytes +
      attentions * (load.kv_upload_bytes + load.exchange_up_bytes) + moved;
  bytes[index(LaneKind::d2h)] =
      (head ? load.logits_bytes : 0) + attentions * load.exchange_down_bytes + moved;
  bytes[index(LaneKind::host_compute)] = attentions * load.host_attention_bytes;
}

SweepCost CostModel::sweep(const WeightTraffic& weights, const SweepLoad& load) const {
  SweepCost cost;
  count_bytes(weights, load, &cost);
  const Machine& machine = input_.machine;
  const auto seconds = [&](LaneKind lane, double bytes_per_second) {
    cost.seconds[index(lane)] = static_cast<double>(cost.bytes[index(lane)]) / bytes_per_second;
  };
  seconds(LaneKind::disk_read, machine.disk_read_bytes_per_second);
  seconds(LaneKind::disk_write, machine.disk_write_bytes_per_second);
  seconds(LaneKind::h2d, machine.h2d_bytes_per_second);
  seconds(LaneKind::d2h, machine.d2h_bytes_per_second);
  seconds(LaneKind::host_compute, machine.host_attention_rate(format(input_.kv).name));
  cost.seconds[index(LaneKind::compute)] = compute_seconds(weights, load);
  for (const LaneKind lane : {LaneKind::compute, LaneKind::h2d, LaneKind::d2h}) {
    cost.seconds[index(lane)] *= load.device_share;
  }
  return cost;
}

}  // namespace penstock
