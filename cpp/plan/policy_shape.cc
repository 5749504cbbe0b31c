#include "plan/policy_shape.h"

#include <algorithm>
#include <numeric>

#include "base/checked.h"
#include "base/error.h"
#include "plan/request_lengths.h"

namespace penstock {
namespace {

[[noreturn]] void refuse(const std::string& field, const std::string& why, const std::string& found,
                         const std::string& allowed) {
  throw Error(ErrorCode::invalid_argument, why, {"", field, found, allowed});
}

constexpr int kUsualBatchTokens = 256;

void check_lengths(const Policy& wanted) {
  const auto at_least_one = [](const std::optional<int>& value, const char* field) {
    if (value && *value < 1) refuse(field, "out of range", std::to_string(*value), "1 or more");
  };
  at_least_one(wanted.micro_batch, "micro_batch");
  at_least_one(wanted.micro_batches, "micro_batches");
  at_least_one(wanted.prefill_chunk, "prefill_chunk");
  at_least_one(wanted.pace, "pace");
  at_least_one(wanted.lookahead, "lookahead");
  at_least_one(wanted.threads, "threads");
  at_least_one(wanted.micro_batch_tokens, "micro_batch_tokens");
  at_least_one(wanted.max_sequences, "max_sequences");
}

}  // namespace

PolicyShape::PolicyShape(const PlanInput& input, const Policy& wanted)
    : input_(input), wanted_(wanted) {
  validate();
  base_ = base_policy();
}

void PolicyShape::validate() const {
  const auto check_share = [&](const std::optional<Shares>& shares, const std::string& name) {
    if (!shares || input_.accelerator || shares->device <= 0) return;
    refuse(name, "this device has no memory of its own", "device " + std::to_string(shares->device),
           "device 0");
  };
  check_share(wanted_.kv_share, "kv_share");
  check_share(wanted_.activation_share, "activation_share");
  check_share(wanted_.weight_share, "weight_share");
  if (!input_.accelerator && wanted_.host_attention && !*wanted_.host_attention) {
    refuse("host_attention", "without an accelerator the host always attends", "false", "true");
  }
  check_lengths(wanted_);
}

ResolvedPolicy PolicyShape::base_policy() const {
  const Shares here = input_.accelerator ? Shares{1, 0, 0} : Shares{0, 1, 0};
  ResolvedPolicy policy;
  policy.weights = wanted_.weight_share.value_or(here);
  policy.kv = wanted_.kv_share.value_or(here);
  policy.activations = wanted_.activation_share.value_or(here);
  policy.admission = wanted_.admission.value_or(Admission::continuous);
  policy.share_prefix = wanted_.share_prefix.value_or(true);
  policy.host_attention = input_.accelerator && wanted_.host_attention.value_or(false);
  policy.kv_split = wanted_.kv_split.value_or(false);
  policy.overlap = wanted_.overlap.value_or(true);
  policy.step_barrier = wanted_.step_barrier.value_or(false);
  policy.whole_tensors = wanted_.whole_tensors.value_or(false);
  policy.lookahead = 2 * wanted_.lookahead.value_or(1);
  policy.threads = wanted_.threads.value_or(input_.threads);
  policy.page_tokens = wanted_.page_tokens.value_or(page_tokens(policy.kv.disk > 0));
  policy.ring_slots = wanted_.ring_slots.value_or(0);
  policy.pace = wanted_.pace.value_or(0);
  policy.panel_bytes = panel_bytes();
  policy.device_layers = device_layers();
  return policy;
}

// Layers weigh with their matrices, wherever those are: what streams through a device is its work.
std::vector<int> PolicyShape::device_layers() const {
  const auto layers = static_cast<int>(input_.spec->layers.size());
  const size_t devices = std::max<size_t>(1, input_.device_bytes.size());
  if (wanted_.device_layers) {
    const std::vector<int>& given = *wanted_.device_layers;
    const int sum = std::accumulate(given.begin(), given.end(), 0);
    if (given.size() == devices && sum == layers) return given;
    refuse("device_layers", "does not divide the layers among the devices",
           std::to_string(sum) + " layers on " + std::to_string(given.size()) + " devices",
           std::to_string(layers) + " on " + std::to_string(devices));
  }
  if (devices == 1) return {layers};
  SplitSizes sizes{.layers = layers};
  for (const WeightInfo& info : input_.weights->all()) {
    if (info.kind != WeightKind::matrix) continue;
    const uint64_t bytes = stored_bytes(info, input_.formats.at(info.id), 0, info.rows);
    (info.layer < 0 ? sizes.head_bytes : sizes.layer_bytes) += bytes;
  }
  sizes.layer_bytes /= static_cast<uint64_t>(layers);
  return split_by_capacity(sizes, input_.device_bytes);
}

// Short rows would leave most of a long page empty; a page of a wide model is large enough to be
// read at once, and each row on disk keeps one of every layer in memory.
int PolicyShape::page_tokens(bool on_disk) const {
  constexpr int kShort = 16, kUsual = 32;
  const AttentionSpec& attention = input_.spec->attention;
  const KvLayout page{input_.kv, attention.kv_heads, attention.head_dim, kShort};
  constexpr int64_t kLargePage = int64_t{256} << 10;
  if (page.page_bytes() >= kLargePage) return kShort;
  return request_lengths(input_).longest <= 128 && !on_disk ? kShort : kUsual;
}

// Large matrices travel in larger panels, so that the steps of a sweep stay few; small ones in
// smaller panels, so that slots fit what is in them.
uint64_t PolicyShape::panel_bytes() const {
  int64_t largest = 0;
  for (const WeightInfo& info : input_.weights->all()) {
    if (info.kind == WeightKind::matrix && info.layer >= 0) {
      largest = std::max(largest, info.rows * info.cols * dtype_bytes(input_.spec->dtype));
    }
  }
  const int64_t least = std::clamp<int64_t>(largest / 4, int64_t{64} << 10, int64_t{2} << 20);
  return std::clamp<int64_t>(largest / 32, least, int64_t{16} << 20);
}

ResolvedPolicy PolicyShape::shape(int all_sequences, int rows, int64_t all_tokens) const {
  ResolvedPolicy policy = base_;
  policy.max_sequences = all_sequences;
  const int sequences = policy.sweep_rows();
  const int64_t tokens = ceil_div(all_tokens, policy.sweeps());
  const int batches = wanted_.micro_batches.value_or(0);
  const int share = batches > 0 ? static_cast<int>(ceil_div(sequences, batches)) : 1;
  policy.micro_batch_tokens = wanted_.micro_batch_tokens.value_or(
      std::max({rows, share, wanted_.micro_batch.value_or(1), wanted_.prefill_chunk.value_or(1)}));
  policy.micro_batch = wanted_.micro_batch.value_or(
      batches > 0 ? share : std::min(sequences, policy.micro_batch_tokens));
  const int64_t needed = std::max(ceil_div(sequences, policy.micro_batch),
                                  ceil_div(tokens, policy.micro_batch_tokens));
  policy.micro_batches = batches > 0 ? batches : static_cast<int>(needed);
  const auto longest =
      static_cast<int>(std::min<int64_t>(request_lengths(input_).longest, 1 << 20));
  policy.prefill_chunk =
      wanted_.prefill_chunk.value_or(std::min(policy.micro_batch_tokens, longest));
  return policy;
}

ResolvedPolicy PolicyShape::complete() const {
  const int64_t rows = input_.workload.rows > 0 ? input_.workload.rows : 64;
  const int sweep = wanted_.micro_batch.value_or(0) * wanted_.micro_batches.value_or(0);
  const int asked = sweep * base_.sweeps();
  const int sequences = wanted_.max_sequences.value_or(
      asked > 0 ? asked : static_cast<int>(std::min<int64_t>(rows, 64)));
  return shape(sequences, wanted_.micro_batch_tokens.value_or(kUsualBatchTokens), sequences);
}

}  // namespace penstock
