// What this build of the engine finds on this machine.
#pragma once

#include <string>

#include "penstock/error.h"

namespace penstock {

// JSON: {"version", "isas": instruction sets of the processor that have kernels, best first,
// "host_memory": {"available", "limit"}: bytes, a limit of 0 is none, "cuda": {"built", "gpus":
// [{"name", "capability", "memory"}], "missing": why there is none, else ""}}. Throws ApiError.
std::string describe_system();

}  // namespace penstock
