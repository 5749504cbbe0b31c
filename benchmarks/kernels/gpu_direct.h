// Ops on a stream of a GPU without lanes and waits: what the kernels take by themselves.
#pragma once

#include <functional>
#include <string>

#include "device/op.h"

namespace penstock::bench {

// Median seconds of an op, by events around some that follow each other. Nothing else runs on the
// GPU meanwhile. `cublaslt`: as DeviceOptions::cublaslt.
double seconds_on_stream(int gpu, const std::string& cublaslt, const std::function<Op(int)>& op);

}  // namespace penstock::bench
