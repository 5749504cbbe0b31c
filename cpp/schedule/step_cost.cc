#include "schedule/step_cost.h"

#include <algorithm>
#include <map>

#include "plan/cost.h"

namespace penstock {
namespace {

constexpr double kTransferSeconds = 15e-6;  // starting one

double transfer(uint64_t bytes, double rate) {
  return bytes == 0 ? 0 : kTransferSeconds + static_cast<double>(bytes) / rate;
}

}  // namespace

StepCost::StepCost(const PlanInput& input, const ResolvedPolicy& policy, const WeightPlan& weights)
    : input_(input) {
  const Program& program = program_of(input, policy);
  for (const Visit& visit : weights.visits) visits_.push_back(work_of(visit, program));
  known_.resize(visits_.size());
  const AttentionSpec& attention = input.spec->attention;
  const KvLayout kv{input.kv, attention.kv_heads, attention.head_dim, policy.page_tokens};
  key_bytes_ = static_cast<double>(kv.page_bytes()) / kv.page_tokens;
  key_flops_ = 4.0 * attention.heads * attention.head_dim;
}

StepCost::VisitWork StepCost::work_of(const Visit& visit, const Program& program) const {
  const Module& module = program.modules.at(visit.module);
  VisitWork work;
  work.attention = module.kind == ModuleKind::attention;
  std::map<int, int64_t> rows;  // by weight: of this visit
  for (const Panel& panel : visit.panels) rows[panel.weight] += panel.row_end - panel.row_begin;
  for (const auto& [id, count] : rows) {
    const WeightInfo& info = input_.weights->at(id);
    const QuantFormat& stored = format(input_.formats.at(id));
    Product product;
    product.rate = product_name(stored, input_.compute, input_.invariant);
    product.flops = 2.0 * static_cast<double>(count) * static_cast<double>(info.cols);
    product.bytes = static_cast<double>(stored_bytes(info, input_.formats.at(id), 0, info.rows)) *
                    static_cast<double>(count) / static_cast<double>(info.rows);
    product.head = info.role == Role::head || info.role == Role::project_out;
    work.products.push_back(product);
  }
  if (!visit.first_chunk) return work;
  work.other_flops = count_work(module, *input_.spec, *input_.weights, {1, 0, 0}).other_flops;
  work.other_head_flops = count_work(module, *input_.spec, *input_.weights, {0, 1, 0}).other_flops;
  return work;
}

double StepCost::product_seconds(const Product& product, double rows) const {
  const Machine& machine = input_.machine;
  const double measured = machine.gemm_rate(product.rate, rows);
  if (measured > 0) return product.flops * rows / measured;
  return product.flops * rows / machine.gemm_flops_per_second +
         product.bytes / machine.host_copy_bytes_per_second;
}

double StepCost::attention_seconds(const BatchShape& batch) const {
  const Machine& machine = input_.machine;
  const double rate = machine.attention_rate(format(input_.kv).name);
  const auto decode = static_cast<double>(batch.decode_keys);
  const auto prompt = static_cast<double>(batch.prompt_keys);
  const double seconds = decode * key_bytes_ / rate;
  if (machine.attention_flops_per_second > 0) {
    return seconds + prompt * key_flops_ / machine.attention_flops_per_second;
  }
  return seconds + prompt / kPrefillKeyReuse * key_bytes_ / rate;
}

// All but attention.
double StepCost::products_seconds(const VisitWork& work, const BatchShape& batch) const {
  const auto tokens = static_cast<double>(batch.tokens);
  const auto head_rows = static_cast<double>(batch.head_rows);
  double seconds = visit_seconds(input_.machine);
  for (const Product& product : work.products) {
    seconds += product_seconds(product, product.head ? head_rows : tokens);
  }
  const double other = work.other_flops * tokens + work.other_head_flops * head_rows;
  return seconds + other / (kVectorFlopsShare * input_.machine.gemm_flops_per_second);
}

double StepCost::compute_seconds(int visit, const BatchShape& batch) const {
  const VisitWork& work = visits_.at(visit);
  const auto [found, is_new] = known_[visit].try_emplace({batch.tokens, batch.head_rows}, 0.0);
  if (is_new) found->second = products_seconds(work, batch);
  return work.attention ? found->second + attention_seconds(batch) : found->second;
}

double StepCost::seconds(const Step& step, const std::vector<BatchShape>& batches) const {
  const Machine& machine = input_.machine;
  switch (step.lane.kind) {
    case LaneKind::compute:
      return compute_seconds(step.visit, batches.at(step.batch));
    case LaneKind::host_compute:
      return visit_seconds(machine) +
             static_cast<double>(step.bytes) / machine.host_attention_rate(format(input_.kv).name);
    case LaneKind::h2d:
      return transfer(step.bytes, machine.h2d_bytes_per_second);
    case LaneKind::d2h:
      return transfer(step.bytes, machine.d2h_bytes_per_second);
    case LaneKind::disk_read:
      return transfer(step.bytes, machine.disk_read_bytes_per_second);
    case LaneKind::disk_write:
      return transfer(step.bytes, machine.disk_write_bytes_per_second);
  }
  return 0;
}

double StepCost::flops(const std::vector<BatchShape>& batches) const {
  double sum = 0;
  for (const BatchShape& batch : batches) {
    for (const VisitWork& work : visits_) {
      for (const Product& product : work.products) {
        const int64_t rows = product.head ? batch.head_rows : batch.tokens;
        sum += product.flops * static_cast<double>(rows);
      }
      if (work.attention) {
        sum += key_flops_ * static_cast<double>(batch.decode_keys + batch.prompt_keys);
      }
    }
  }
  return sum;
}

}  // namespace penstock
