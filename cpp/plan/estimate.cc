#include "plan/estimate.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "tensor/units.h"

namespace penstock {
namespace {

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
  load.decode_keys = static_cast<int64_t>(mix.decode_keys);
  load.prompt_keys = static_cast<int64_t>(mix.prompt_keys);
  load.apart = policy.host_attention;
  load.device_share =
      policy.split().largest_share(static_cast<int64_t>(input_.spec->layers.size()));
  const double unit = static_cast<double>(round_up(sizes.kv.page_bytes(), kPageBytes));
  const double pages = static_cast<double>(lengths_.flying) / policy.page_tokens;
  load.kv_read_bytes = static_cast<uint64_t>(policy.kv.disk * mix.sequences * pages * unit);
  load.kv_write_bytes =
      static_cast<uint64_t>(policy.kv.disk * mix.tokens / policy.page_tokens * unit);
  if (input_.accelerator) add_below(policy, sizes, mix, &load);
  add_hidden(policy, mix, &load);
  return load;
}

// Keys and values that are not on the accelerator: they come up for prompts, and for decoding rows
// too unless the host attends.
void Estimator::add_below(const ResolvedPolicy& policy, const MemoryPlan& sizes, const Mix& mix,
                          SweepLoad* load) const {
  const AttentionSpec& attention = input_.spec->attention;
  const double below = policy.kv.host + policy.kv.disk;
  const double key_bytes = static_cast<double>(sizes.kv.page_bytes()) / policy.page_tokens;
  const double decoding = std::max(0.0, mix.tokens - mix.prompt_tokens);
  const double kv_row = 8.0 * attention.kv_heads * attention.head_dim;
  const double q_row = 4.0 * attention.heads * attention.head_dim;
  const double hosted = policy.host_attention ? below : 0;
  // A prompt's earlier chunks come up for each of its later ones.
  const auto prompt = static_cast<double>(lengths_.prompt);
  const double chunks = std::ceil(prompt / policy.prefill_chunk);
  const double earlier = mix.prompt_tokens / prompt * (chunks - 1) / 2 * prompt;
  load->kv_upload_bytes = static_cast<uint64_t>(below * earlier * key_bytes +
                                                (below - hosted) * mix.decode_keys * key_bytes);
  load->exchange_down_bytes =
      static_cast<uint64_t>(below * mix.tokens * kv_row + hosted * decoding * q_row);
  load->exchange_up_bytes = static_cast<uint64_t>(hosted * decoding * q_row);
  load->host_attention_bytes = static_cast<uint64_t>(hosted * mix.decode_keys * key_bytes);
  load->decode_keys = static_cast<int64_t>((1 - hosted) * mix.decode_keys);
  load->logits_bytes = static_cast<uint64_t>(mix.head_rows * 4);  // a token each
  load->gather_upload_bytes = static_cast<uint64_t>(mix.tokens * input_.spec->embed_dim * 2);
}

void Estimator::add_hidden(const ResolvedPolicy& policy, const Mix& mix, SweepLoad* load) const {
  const double hidden = mix.tokens * input_.spec->hidden * 4;
  load->activation_bytes = static_cast<uint64_t>(policy.activations.disk * hidden);
  load->activation_head_bytes = load->activation_bytes;
  if (!input_.accelerator) return;
  const double below = policy.activations.disk + policy.activations.host;
  load->activation_move_bytes = load->activation_move_head_bytes =
      static_cast<uint64_t>(below * hidden);
}

double Estimator::seconds(int held_panels, const MemoryPlan& sizes, const SweepCost& cost) const {
  const double compute = cost.seconds[static_cast<int>(LaneKind::compute)];
  double other = 0;
  for (int lane = 0; lane < kLaneKinds; ++lane) {
    if (lane != static_cast<int>(LaneKind::compute)) other = std::max(other, cost.seconds[lane]);
  }
  double overlapped = std::min(compute, other);
  if (held_panels > 0) {
    // While a visit computes, the slots it does not hold can be filled.
    const int slots = std::max(sizes.ring_slots, sizes.device_ring_slots);
    overlapped = std::min(overlapped, other * (slots / double(held_panels) - 1));
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
  const double prompt_keys = prompt * prompt / 2;
  const double rate =
      std::min(policy.sweep_rows() / row_sweeps, limit / row_tokens);  // rows a sweep

  const auto take = [&](const Mix& mix) {
    return seconds(joined_panels(weights, policy), sizes,
                   model_.sweep(weights.traffic, load(policy, sizes, mix)));
  };
  const Mix steady{.tokens = rate * row_tokens,
                   .head_rows = rate * fresh,
                   .sequences = rate * row_sweeps,
                   .decode_keys = rate * decode_keys,
                   .prompt_keys = rate * prompt_keys,
                   .prompt_tokens = rate * prompt};
  const int64_t rows = input_.workload.rows > 0 ? input_.workload.rows : kManyRows;
  const double sweeps = policy.sweeps();  // in flight, one after another on each device
  const auto block = std::min(static_cast<double>(rows) / sweeps, double(policy.sweep_rows()));
  const double starts = std::max(prefills, std::ceil(block * prompt / limit));
  const Mix start{.tokens = block * prompt / starts,
                  .head_rows = block / starts,
                  .sequences = block,
                  .decode_keys = 0,
                  .prompt_keys = block * prompt_keys / starts,
                  .prompt_tokens = block * prompt / starts};
  const Mix decode{.tokens = block,
                   .head_rows = block,
                   .sequences = block,
                   .decode_keys = block * (prompt + fresh / 2),
                   .prompt_keys = 0,
                   .prompt_tokens = 0};

  Estimate estimate;
  const double steady_seconds = take(steady);
  estimate.load = load(policy, sizes, steady);
  estimate.cost = model_.sweep(weights.traffic, estimate.load);
  const double later = (static_cast<double>(rows) - sweeps * block) / rate;
  estimate.seconds =
      sweeps * (starts * take(start) + (fresh - 1) * take(decode)) + later * steady_seconds;
  estimate.tokens_per_second = rate * fresh / steady_seconds;
  const auto cost = [&](const Mix& mix) {
    return model_.sweep(weights.traffic, load(policy, sizes, mix));
  };
  estimate.phases = {
      {sweeps * starts, cost(start)}, {later, estimate.cost}, {sweeps * (fresh - 1), cost(decode)}};
  return estimate;
}

}  // namespace penstock
