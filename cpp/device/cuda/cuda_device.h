// The CUDA device. Where the build has no CUDA, no_cuda.cc stands in and refuses.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/device.h"

namespace penstock {

// Of one GPU: tables of the ops in flight, pinned and on the device, and what the launches of an op
// leave to each other.
inline constexpr uint64_t kCudaTableBytes = uint64_t{8} << 20;
inline constexpr uint64_t kCudaWorkspaceBytes = uint64_t{32} << 20;

// `number`: what follows "cuda:" in the device's name. Throws Error(unsupported) when the build
// or the machine has no CUDA.
std::unique_ptr<Device> open_cuda_device(std::string_view number, const DeviceOptions& options,
                                         LaneSet& lanes, Budget& host);

// Of the GPU with this number. Throws like open_cuda_device().
uint64_t free_cuda_bytes(std::string_view number);

struct GpuFacts {
  std::string name;
  std::string capability;  // as 9.0
  uint64_t memory;         // bytes
};

struct GpuReport {
  bool built;  // whether this build has the CUDA device
  std::vector<GpuFacts> gpus;
  std::string missing;  // why there is no GPU; empty where there is one
};

// Never throws for want of a GPU.
GpuReport find_gpus();

}  // namespace penstock
