// What a machine can do, as numbers. The defaults are modest figures of a small host; a probe
// (penstock/probe.h) replaces them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

inline constexpr int kMachineVersion = 1;  // of the JSON form

// Products with weights of a format, in launches of `rows` input rows: weights come from memory.
struct GemmRate {
  std::string format;
  int rows = 0;
  double flops_per_second = 0;
};

// Decode attention over a long cache in a KV format.
struct AttentionRate {
  std::string kv;
  double bytes_per_second = 0;  // of keys and values
};

struct Machine {
  double disk_read_bytes_per_second = 1.2e9;
  double disk_write_bytes_per_second = 0.8e9;
  double host_copy_bytes_per_second = 10e9;
  double h2d_bytes_per_second = 10e9;
  double d2h_bytes_per_second = 10e9;
  double gemm_flops_per_second = 2e11;           // many rows, compute device, formats not in `gemm`
  double attention_bytes_per_second = 8e9;       // KV formats not in `attention`
  double attention_flops_per_second = 0;         // of prompts; 0: not measured
  double host_attention_bytes_per_second = 8e9;  // KV formats not in `host_attention`
  double step_seconds = 0;  // submitting and joining one compute step; 0: not measured
  std::vector<GemmRate> gemm;
  std::vector<AttentionRate> attention;
  std::vector<AttentionRate> host_attention;  // on the processor beside an accelerator
  // Half the range of the rounds over their median, by field; the largest of a list. For people.
  std::map<std::string, double> spread;

  // Rate at a row count: between two measured ones the time of a launch is taken as a line, beyond
  // the last the rate stays. 0: this format has not been measured. With kVariantProduct behind it,
  // from the fewest rows on that this was measured at, else without.
  double gemm_rate(std::string_view format, double rows) const;
  double attention_rate(std::string_view kv) const;
  double host_attention_rate(std::string_view kv) const;
};

// Fields as above, all optional, and `version` and `about` (what and when, for people). Throws
// Error(invalid_argument) naming file and field.
Machine machine_from_json(std::string_view text, const std::string& file);
std::string machine_to_json(const Machine& machine, const std::string& about = "");

}  // namespace penstock
