// The accelerator that tests are asked to use as well: the variable PENSTOCK_TEST_DEVICE, "cuda:0"
// on a machine with a GPU. Without one "virtual" goes the same way, and so does "virtual:cuda" for
// the kernel tests, with the emulated CUDA kernels (all but KernelTable.*, which has no table added
// to the processor's). This is the only place that reads such variables.
#pragma once

#include <string>
#include <vector>

#include "kernels/cpu/isa.h"

namespace penstock::test {

// "" where the variable is not set.
std::string test_device();
// The cuBLASLt of that device, as DeviceOptions::cublaslt: the variable PENSTOCK_TEST_CUBLASLT.
std::string test_cublaslt();

// `always` and the test device.
std::vector<std::string> devices_and(std::vector<std::string> always);

// The kernels of the test device for operands in host memory: each op's operands go up, the rest of
// what the device is given being NaN patterns, and what the op writes comes back. What it writes
// beside its operands is a failure of the test. Null where the variable is not set.
const KernelTable* device_kernel_table();
// The same for a device by name, which stays open as long as the process.
const KernelTable& carried_kernel_table(const std::string& spec);

}  // namespace penstock::test
