// The residual stream between visits: rows [tokens, hidden] in fp32. Micro-batches live where the
// device computes, or in host memory beside an accelerator or on disk; those pass through slots.
// Layout is fixed per sweep by the planner: row ranges in memory, units on disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "device/device.h"
#include "store/spill_file.h"

namespace penstock {

struct ActivationStoreInput {
  int64_t hidden = 0;
  int sweeps = 1;             // in flight: each has rows of its own
  int64_t memory_tokens = 0;  // of a sweep: rows in the memory of each device
  int64_t host_tokens = 0;    // accelerator: rows in host memory
  int64_t disk_batches = 0;   // micro-batches that may live on disk
  int64_t batch_tokens = 0;   // rows of a slot
  int slots = 0;              // in the memory of each device
  int host_slots = 0;         // accelerator
  std::string folder;
  std::vector<DeviceMemory> devices;
  Budget* host = nullptr;
  Budget* disk = nullptr;
};

class ActivationStore {
 public:
  explicit ActivationStore(const ActivationStoreInput& input);

  // Rows of the sweep that is `sweep` of those in flight, in the memory of a device, or in host
  // memory beside an accelerator.
  float* rows(int device, int sweep, int64_t first_token) const;
  float* host_rows(int sweep, int64_t first_token) const;
  float* slot(int device, int index) const;
  float* host_slot(int index) const;
  uint64_t unit(int sweep, uint64_t unit) const { return sweep * disk_batches_ + unit; }
  SpillFile& spill() { return spill_; }
  uint64_t unit_bytes() const { return unit_bytes_; }

 private:
  int64_t hidden_, memory_tokens_, host_tokens_;
  uint64_t disk_batches_, unit_bytes_;
  std::vector<Buffer> memory_, slots_;  // by device
  Buffer host_, host_slots_;
  SpillFile spill_;
};

}  // namespace penstock
