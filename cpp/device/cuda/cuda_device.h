// The CUDA device. Where the build has no CUDA, no_cuda.cc stands in and refuses.
#pragma once

#include <memory>
#include <string_view>

#include "device/device.h"

namespace penstock {

// `number`: what follows "cuda:" in the device's name. Throws Error(unsupported) when the build
// or the machine has no CUDA.
std::unique_ptr<Device> open_cuda_device(std::string_view number, const DeviceOptions& options,
                                         LaneSet& lanes, Budget& host);

}  // namespace penstock
