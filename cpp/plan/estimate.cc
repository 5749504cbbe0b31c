#include "plan/estimate.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"

namespace penstock {
namespace {

constexpr double kSweepSeconds = 2e-3;     // sampling, building the next sweep
constexpr double kLeastOverlapLoss = 0.1;  // of the shorter of two that run side by side
constexpr int64_t kManyRows = 1'000'000;

}  // namespace

SweepLoad Estimator::load(const ResolvedPolicy& policy, const MemoryPlan& sizes,
                          const Mix& mix) const {
  SweepLoad load;
  const double rows = policy.micro_batch_tokens;
  const double batches = std::ceil(std::max(mix.tokens / rows, mix.sequences / policy.micro_batch));
  load.batches = std::max<int64_t>(1, static_cast<int64_t>(batches));
  load.tokens = static_cast<int64_t>(std::ceil(mix.tokens));
  load.head_rows = static_cast<int64_t>(std::ceil(mix.head_rows));
  load.key_positions = static_cast<int64_t>(mix.keys);
  const double unit = static_cast<double>(round_up(sizes.kv.page_bytes(), 4096));
  const double pages = static_cast<double>(lengths_.flying) / policy.page_tokens;
  load.kv_read_bytes = static_cast<uint64_t>(policy.kv.disk * mix.sequences * pages * unit);
  load.kv_write_bytes =
      static_cast<uint64_t>(policy.kv.disk * mix.tokens / policy.page_tokens * unit);
  const double hidden = mix.tokens * input_.spec->hidden * 4;
  load.activation_bytes = static_cast<uint64_t>(policy.activations.disk * hidden);
  load.activation_head_bytes = load.activation_bytes;
  return load;
}

double Estimator::seconds(const WeightSummary& weights, const MemoryPlan& sizes,
                          const SweepCost& cost) const {
  const double compute = cost.seconds[static_cast<int>(LaneKind::compute)];
  double other = 0;
  for (int lane = 0; lane < kLaneKinds; ++lane) {
    if (lane != static_cast<int>(LaneKind::compute)) other = std::max(other, cost.seconds[lane]);
  }
  double overlapped = std::min(compute, other);
  if (weights.visit_panels > 0) {
    // While a visit computes, the slots it does not hold can be filled.
    const int slots = std::max(sizes.ring_slots, sizes.device_ring_slots);
    overlapped = std::min(overlapped, other * (slots / double(weights.visit_panels) - 1));
  }
  const double least = std::max(compute, other) + kLeastOverlapLoss * std::min(compute, other);
  return std::max(least, compute + other - std::max(0.0, overlapped)) + kSweepSeconds;
}

Estimate Estimator::workload(const ResolvedPolicy& policy, const WeightSummary& weights,
                             const MemoryPlan& sizes) const {
  const auto prompt = static_cast<double>(lengths_.prompt);
  const auto fresh = static_cast<double>(lengths_.fresh);
  const auto limit = static_cast<double>(sizes.sweep_tokens);
  const double prefills = std::ceil(prompt / policy.prefill_chunk);
  const double row_sweeps = prefills + fresh - 1, row_tokens = prompt + fresh - 1;
  const double decode_keys = (fresh - 1) * (prompt + fresh / 2);
  const double prefill_keys = prompt * prompt / 2 / kPrefillKeyReuse;
  const double rate =
      std::min(policy.max_sequences / row_sweeps, limit / row_tokens);  // rows a sweep

  const auto take = [&](const Mix& mix) {
    return seconds(weights, sizes, model_.sweep(weights.traffic, load(policy, sizes, mix)));
  };
  const Mix steady{rate * row_tokens, rate * fresh, rate * (decode_keys + prefill_keys),
                   rate * row_sweeps};
  const int64_t rows = input_.workload.rows > 0 ? input_.workload.rows : kManyRows;
  const auto block = static_cast<double>(std::min<int64_t>(rows, policy.max_sequences));
  const double starts = std::max(prefills, std::ceil(block * prompt / limit));
  const Mix start{block * prompt / starts, block / starts, block * prefill_keys / starts, block};
  const Mix decode{block, block, block * (prompt + fresh / 2), block};

  Estimate estimate;
  const double steady_seconds = take(steady);
  estimate.load = load(policy, sizes, steady);
  estimate.cost = model_.sweep(weights.traffic, estimate.load);
  estimate.seconds = starts * take(start) + (fresh - 1) * take(decode) +
                     (static_cast<double>(rows) - block) / rate * steady_seconds;
  estimate.tokens_per_second = rate * fresh / steady_seconds;
  return estimate;
}

}  // namespace penstock
