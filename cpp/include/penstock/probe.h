// Measures a machine for the planner: disk, memory, links, and the kernels of one device.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "penstock/error.h"

namespace penstock {

// Sizes are bytes; zeros mean "choose for me".
struct ProbeOptions {
  std::string device = "cpu";
  int threads = 0;
  std::string cublaslt;     // as EngineOptions::cublaslt
  std::string disk;         // folder whose disk is measured; empty: the disk is not measured
  uint64_t disk_bytes = 0;  // written to an anonymous file there and read back; 0: 512 MiB
  uint64_t device_memory = 0;
  int width = 0;        // of the square weights that are multiplied; 0: 4096
  double seconds = 30;  // about as long as it may take
  bool quick = false;   // fewer row counts; the rest is as exact as `seconds` allow
  std::function<void(const std::string&)> progress;  // what is being measured; may be empty
};

// The machine as EngineOptions::machine takes it: JSON with medians, how far the rounds lay apart,
// and a text that says what was measured where. Needs about 400 MiB of memory. Throws ApiError.
std::string probe_machine(const ProbeOptions& options);

}  // namespace penstock
