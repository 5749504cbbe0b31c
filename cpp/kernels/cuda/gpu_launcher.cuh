// The launch itself, for the files that hold kernels.
#pragma once

#include "kernels/cuda/device_thread.cuh"
#include "kernels/cuda/gpu_launcher.h"
#include "kernels/cuda/launch.h"

namespace penstock::cuda {

template <class Kernel, class Args>
__global__ void kernel(const __grid_constant__ Args args) {
  Kernel{}(DeviceThread{}, args);
}

template <class Kernel, class Args>
void GpuLauncher::launch(const LaunchShape& shape, const Args& args) {
  if (shape.blocks == 0) return;
  send_tables();
  constexpr size_t kPlain = size_t{48} << 10;  // more has to be asked for
  if (shape.shared_bytes > kPlain) {
    check_cuda(
        cudaFuncSetAttribute(kernel<Kernel, Args>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shape.shared_bytes)),
        "cudaFuncSetAttribute");
  }
  kernel<Kernel, Args><<<static_cast<unsigned>(shape.blocks), static_cast<unsigned>(shape.threads),
                         shape.shared_bytes, stream_>>>(args);
  check_cuda(cudaGetLastError(), "launch");
}

}  // namespace penstock::cuda
