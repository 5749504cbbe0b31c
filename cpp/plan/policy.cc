#include "plan/policy.h"

#include <cmath>

#include "plan/json_fields.h"

namespace penstock {
namespace {

constexpr int kMostBatches = 1 << 16, kMostTokens = 1 << 20, kMostLayers = 64, kMostThreads = 1024;

std::optional<Shares> read_shares(const JsonFields& fields, std::string_view name) {
  const auto object = fields.object(name);
  if (!object) return {};
  object->allow_only({"device", "host", "disk"});
  Shares shares;
  shares.device = object->number("device", 0, 1).value_or(0);
  shares.host = object->number("host", 0, 1).value_or(0);
  shares.disk = object->number("disk", 0, 1).value_or(0);
  if (std::abs(shares.device + shares.host + shares.disk - 1) > 1e-6) {
    object->refuse("", "shares do not sum to 1", "a sum of 1");
  }
  return shares;
}

std::optional<Admission> read_admission(const JsonFields& fields) {
  const auto text = fields.text("admission");
  if (!text) return {};
  if (*text == "block") return Admission::block;
  if (*text == "continuous") return Admission::continuous;
  fields.refuse("admission", "unknown value", "\"block\" or \"continuous\"");
}

Json shares_json(const Shares& shares) {
  return {{"device", shares.device}, {"host", shares.host}, {"disk", shares.disk}};
}

template <class T>
void put(Json* json, const char* name, const std::optional<T>& value) {
  if (value) (*json)[name] = *value;
}

}  // namespace

Policy policy_from_json(std::string_view text, const std::string& file) {
  const Json json = parse_strict_json(text, file);
  const JsonFields fields(json, file, "");
  fields.allow_only(
      {"weight_share",  "kv_share",   "activation_share", "micro_batch",        "micro_batches",
       "prefill_chunk", "pace",       "share_prefix",     "admission",          "host_attention",
       "kv_split",      "lookahead",  "threads",          "micro_batch_tokens", "max_sequences",
       "page_tokens",   "ring_slots", "overlap",          "step_barrier",       "whole_tensors",
       "device_layers"});
  Policy policy;
  policy.weight_share = read_shares(fields, "weight_share");
  policy.kv_share = read_shares(fields, "kv_share");
  policy.activation_share = read_shares(fields, "activation_share");
  policy.micro_batch = fields.integer("micro_batch", 1, kMostBatches);
  policy.micro_batches = fields.integer("micro_batches", 1, kMostBatches);
  policy.prefill_chunk = fields.integer("prefill_chunk", 1, kMostTokens);
  policy.pace = fields.integer("pace", 1, kMostTokens);
  policy.share_prefix = fields.flag("share_prefix");
  policy.admission = read_admission(fields);
  policy.host_attention = fields.flag("host_attention");
  policy.kv_split = fields.flag("kv_split");
  policy.lookahead = fields.integer("lookahead", 1, kMostLayers);
  policy.device_layers = fields.integers("device_layers", 1, kMostTokens);
  policy.threads = fields.integer("threads", 1, kMostThreads);
  policy.micro_batch_tokens = fields.integer("micro_batch_tokens", 1, kMostTokens);
  policy.max_sequences = fields.integer("max_sequences", 1, kMostBatches);
  policy.page_tokens = fields.integer("page_tokens", 16, 256);
  const int page = policy.page_tokens.value_or(16);
  if ((page & (page - 1)) != 0) fields.refuse("page_tokens", "out of range", "a power of 2");
  policy.ring_slots = fields.integer("ring_slots", 1, kMostTokens);
  policy.overlap = fields.flag("overlap");
  policy.step_barrier = fields.flag("step_barrier");
  policy.whole_tensors = fields.flag("whole_tensors");
  return policy;
}

std::string policy_to_json(const Policy& policy) {
  Json json = Json::object();
  if (policy.weight_share) json["weight_share"] = shares_json(*policy.weight_share);
  if (policy.kv_share) json["kv_share"] = shares_json(*policy.kv_share);
  if (policy.activation_share) json["activation_share"] = shares_json(*policy.activation_share);
  put(&json, "micro_batch", policy.micro_batch);
  put(&json, "micro_batches", policy.micro_batches);
  put(&json, "prefill_chunk", policy.prefill_chunk);
  put(&json, "pace", policy.pace);
  put(&json, "share_prefix", policy.share_prefix);
  if (policy.admission) {
    json["admission"] = *policy.admission == Admission::block ? "block" : "continuous";
  }
  put(&json, "host_attention", policy.host_attention);
  put(&json, "kv_split", policy.kv_split);
  put(&json, "lookahead", policy.lookahead);
  put(&json, "device_layers", policy.device_layers);
  put(&json, "threads", policy.threads);
  put(&json, "micro_batch_tokens", policy.micro_batch_tokens);
  put(&json, "max_sequences", policy.max_sequences);
  put(&json, "page_tokens", policy.page_tokens);
  put(&json, "ring_slots", policy.ring_slots);
  put(&json, "overlap", policy.overlap);
  put(&json, "step_barrier", policy.step_barrier);
  put(&json, "whole_tensors", policy.whole_tensors);
  return json.dump(2);
}

}  // namespace penstock
