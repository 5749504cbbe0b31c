// Rates that a run keeps to although the machine could do more, so that it runs as if on another.
// Given as the JSON of a machine: only what stands in it counts. Lanes sleep, results are the same.
#pragma once

#include <string>

namespace penstock {

struct Throttle {  // bytes and flops per second; 0: as fast as it goes
  double disk_read = 0, disk_write = 0;
  double h2d = 0, d2h = 0, gemm = 0, attention = 0;  // virtual accelerator
  double host_attention = 0;                         // any accelerator
};

// `device` as in EngineOptions; an empty text throttles nothing. Throws Error(invalid_argument) for
// what is no machine, Error(unsupported) for a rate that this device cannot be throttled to.
Throttle throttle_from_json(const std::string& text, const std::string& device);

}  // namespace penstock
