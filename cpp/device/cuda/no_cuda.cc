#include "base/error.h"
#include "device/cuda/cuda_device.h"

namespace penstock {

uint64_t free_cuda_bytes(std::string_view) { return 0; }

GpuReport find_gpus() { return {false, {}, "this build has no CUDA"}; }

std::unique_ptr<Device> open_cuda_device(std::string_view, const DeviceOptions& options, LaneSet&,
                                         Budget&) {
  throw Error(ErrorCode::unsupported,
              "this build has no CUDA. Build again with nvcc on the PATH: "
              "pip install . -C cmake.define.PENSTOCK_CUDA=ON. "
              "In C++ ask for find_package(penstock COMPONENTS cuda)",
              {.file = {},
               .field = "device",
               .found = escape_for_message(options.spec),
               .allowed = "cpu, virtual"});
}

}  // namespace penstock
