// The device seam: who computes. Five methods. A device owns its memory beyond the host's and its
// lanes' work; it knows nothing of models, schedules or files. Work is asynchronous: run() and
// copy() return a ticket at once.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/lane.h"
#include "device/op.h"
#include "memory/budget.h"
#include "memory/buffer.h"

namespace penstock {

struct DeviceInfo {
  std::string name;          // "cpu", "virtual"
  std::string isa;           // kernels in use: a table of the processor's, or a GPU's generation
  std::string host_isa;      // table for what the host computes beside it; "": the best
  Tier memory = Tier::host;  // where its operands must live: host for the CPU itself, device for an
                             // accelerator
  std::string products;      // for people: whose dense 16-bit products a GPU uses, and why
  int threads = 1;
  uint64_t capacity_bytes = 0;  // accelerator memory; 0: the host's
  bool weight_only = false;     // has products of Compute::weight_only
  int variant_rows = 0;         // from so many on they have other bits unless they are invariant;
                                // 0: never
  RawInputs raw_inputs;
};

class Device;

enum class CopyDirection : uint8_t { h2d, d2h, within, peer };

// A null source (direction `within` only) says that the content of the destination no longer
// matters: the device may fill it with a poison pattern, in order on the compute lane. The CPU
// device does nothing; no bytes are counted. Direction `peer` is from a device to the memory of
// `peer`, another one of its kind; it is the source's to run, on its d2h lane.
struct CopyParams {
  void* destination = nullptr;
  const void* source = nullptr;
  size_t bytes = 0;
  CopyDirection direction = CopyDirection::within;
  Device* peer = nullptr;
};

// Descriptors that an op points to (span, page and panel tables, positions, row lists, targets) are
// host memory on every device and, like the operands, must stay as they are until the ticket is
// done. Buffers are freed before their device is closed, the device before its lane set; closing a
// device waits for the work it was given. Thread safe.
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  // Memory of the budget's tier, charged to it before it exists: what this device computes on, or
  // host memory that copies to and from it are fast with. Throws Error(budget).
  virtual Buffer allocate(size_t bytes, Budget& budget, const std::string& what) = 0;
  // Runs on the h2d, d2h or compute lane after the tickets. The ranges must stay valid until the
  // ticket is done.
  virtual Ticket copy(const CopyParams& params, std::span<const Ticket> after, int64_t tag = 0) = 0;
  // Runs on the compute lane, in order, after the tickets.
  virtual Ticket run(const Op& op, std::span<const Ticket> after, int64_t tag = 0) = 0;
  virtual void wait(Ticket ticket) = 0;  // rethrows the lane's first error
};

// A device and the budget that its memory is charged to.
struct DeviceMemory {
  Device* device = nullptr;
  Budget* budget = nullptr;

  Buffer allocate(size_t bytes, const std::string& what) const {
    return device->allocate(bytes, *budget, what);
  }
};

struct DeviceOptions {
  std::string spec = "cpu";         // "cpu", "cpu:avx2", "virtual", "virtual:avx2", "cuda:0"
  int ordinal = 0;                  // of its lanes, among several accelerators
  Compute compute = Compute::fast;  // what it must be able to do
  Budget* memory = nullptr;         // of an accelerator's memory: its own needs are charged there
  int threads = 1;
  bool pin_threads = false;
  uint64_t device_memory = uint64_t{1} << 30;  // virtual: capacity in bytes
  uint64_t delay_seed = 0;                     // virtual: seeded delays on every lane
  // virtual: modelled rates, 0: as fast as it goes. Of the copy lanes; of matrix products and
  // attention; of decode attention by what it reads, which then does not count as flops.
  double h2d_bytes_per_second = 0, d2h_bytes_per_second = 0;
  double flops_per_second = 0, attention_bytes_per_second = 0;
  std::string cublaslt;      // cuda: path of libcublasLt; "": by its name; "off": our own kernels
  bool guard_pages = false;  // virtual: the host faults on device memory while no step of the
                             // device runs (for tests)
};

// Opens the lanes it needs in `lanes` (compute; h2d and d2h for accelerators). Kernel scratch is
// charged to `host`. Throws Error(unsupported), with the list of known devices or of what this one
// computes.
std::unique_ptr<Device> open_device(const DeviceOptions& options, LaneSet& lanes, Budget& host);

// The devices of "cuda:0,cuda:1" or "virtual,virtual": one of any kind, or several accelerators of
// one kind. Throws Error(unsupported).
std::vector<std::string> device_list(const std::string& spec);
// What one accelerator needs for itself of its memory, and of the host's beside the scratch of
// kernels; known wherever one plans for it.
struct DeviceNeeds {
  uint64_t device_bytes = 0, host_bytes = 0;
};
DeviceNeeds device_needs(const std::string& spec);
// Memory that is free on one accelerator now; 0 where none can be asked.
uint64_t free_device_bytes(const std::string& spec);
std::string device_kind(const std::string& spec);  // "cpu", "virtual", "cuda" of those
// Throws Error(unsupported) when no device of this kind computes so.
void check_compute(const std::string& spec, Compute compute);

}  // namespace penstock
