// The decision variables of a run, as people write them: every field optional, the planner fills
// the rest.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

struct Shares {  // fractions of the bytes on each tier, sum 1
  double device = 0, host = 0, disk = 0;
};

enum class Admission { block, continuous };

struct Policy {
  std::optional<Shares> weight_share, kv_share, activation_share;
  std::optional<int> micro_batch;    // sequences a kernel launch serves
  std::optional<int> micro_batches;  // launches that share one weight visit
  std::optional<int> prefill_chunk;  // tokens of one prompt per sweep
  std::optional<int> pace;  // continuous: tokens of prompts that enter with a sweep, on average
  std::optional<Admission> admission;
  std::optional<bool> share_prefix;  // equal beginnings of prompts are computed once
  // Accelerator: attention of decoding rows over what is in host memory or on disk runs there.
  std::optional<bool> host_attention;
  std::optional<bool> kv_split;  // kv_share divides every sequence, not the sequences
  std::optional<int> lookahead;  // layers staged ahead
  std::optional<std::vector<int>> device_layers;  // several accelerators: how many each has
  std::optional<int> threads;
  // What a plan prints beside those above, so that it can be read back.
  std::optional<int> micro_batch_tokens;  // rows a kernel launch may have
  std::optional<int> max_sequences;       // rows in flight
  std::optional<int> page_tokens;         // tokens of a KV page: 16, 32, 64, 128 or 256
  std::optional<int> ring_slots;          // staging slots for panels of weights
  // For comparisons with schedules that do less: BuildOptions, PlacementOptions.
  std::optional<bool> overlap, step_barrier, whole_tensors;
};

// JSON with the field names above; unknown fields, wrong types, shares that do not sum to 1 (within
// 1e-6) or values out of range are refused: Error(invalid_argument) naming file and field.
Policy policy_from_json(std::string_view text, const std::string& file);
std::string policy_to_json(const Policy& policy);

}  // namespace penstock
