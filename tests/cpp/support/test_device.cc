#include "support/test_device.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "kernels/cpu/table.h"
#include "support/carrier.h"
#include "support/simt_emulator.h"

namespace penstock::test {
namespace {

// The table's functions know no state but this.
Carrier*& carrier() {
  static Carrier* open = nullptr;
  return open;
}

// For a virtual device named "virtual:cuda".
void add_emulated_kernels() {
  static std::once_flag added;
  std::call_once(added, [] { add_kernel_table(emulated_cuda_table()); });
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

template <class Params>
void carry(const Params& params, const KernelContext&) {
  carrier()->run(params);
}

}  // namespace

std::string test_device() { return variable("PENSTOCK_TEST_DEVICE"); }
std::string test_cublaslt() { return variable("PENSTOCK_TEST_CUBLASLT"); }

std::vector<std::string> devices_and(std::vector<std::string> always) {
  const std::string device = test_device();
  const bool known = std::find(always.begin(), always.end(), device) != always.end();
  if (!device.empty() && !known) always.push_back(device);
  return always;
}

const KernelTable* device_kernel_table() {
  const std::string device = test_device();
  if (device.empty()) return nullptr;
  if (device == "virtual:cuda") add_emulated_kernels();
  return &carried_kernel_table(device);
}

const KernelTable& carried_kernel_table(const std::string& spec) {
  static const KernelTable table = {
      .isa = "device",
      .embed = carry<EmbedParams>,
      .norm = carry<NormParams>,
      .prepare = carry<PrepareParams>,
      .gemm = carry<GemmParams>,
      .gated = carry<GatedParams>,
      .rotary = carry<RotaryParams>,
      .kv_append = carry<KvAppendParams>,
      .attention = carry<AttentionParams>,
      .gather_rows = carry<GatherRowsParams>,
      .score = carry<ScoreParams>,
      .sample = carry<SampleParams>,
  };
  if (carrier() == nullptr || carrier()->spec() != spec) {
    delete carrier();
    carrier() = nullptr;
    carrier() = new Carrier(spec);  // open to the end: a GPU's runtime ends before statics do
  }
  return table;
}

}  // namespace penstock::test
