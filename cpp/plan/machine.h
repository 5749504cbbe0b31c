// What a machine can do, as numbers. Defaults are modest figures of a small host; a probe replaces
// them.
#pragma once

#include <string>
#include <string_view>

namespace penstock {

struct Machine {
  double disk_read_bytes_per_second = 1.2e9;
  double disk_write_bytes_per_second = 0.8e9;
  double host_copy_bytes_per_second = 10e9;
  double h2d_bytes_per_second = 10e9;
  double d2h_bytes_per_second = 10e9;
  double gemm_flops_per_second = 2e11;      // many rows, compute device
  double attention_bytes_per_second = 8e9;  // KV bytes read by decode attention
};

Machine machine_from_json(std::string_view text, const std::string& file);
std::string machine_to_json(const Machine& machine);

}  // namespace penstock
