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
  int64_t memory_tokens = 0;  // rows in compute memory
  int64_t host_tokens = 0;    // accelerator: rows in host memory
  int64_t disk_batches = 0;   // micro-batches that may live on disk
  int64_t batch_tokens = 0;   // rows of a slot
  int slots = 0;              // in compute memory
  int host_slots = 0;         // accelerator
  std::string folder;
  Device* device = nullptr;
  Budget* memory = nullptr;  // compute memory
  Budget* host = nullptr;
  Budget* disk = nullptr;
};

class ActivationStore {
 public:
  explicit ActivationStore(const ActivationStoreInput& input);

  float* rows(int64_t first_token) const;       // in compute memory
  float* host_rows(int64_t first_token) const;  // in host memory beside an accelerator
  float* slot(int index) const;                 // in compute memory
  float* host_slot(int index) const;
  SpillFile& spill() { return spill_; }
  uint64_t unit_bytes() const { return unit_bytes_; }

 private:
  int64_t hidden_;
  uint64_t unit_bytes_;
  Buffer memory_, host_, slots_, host_slots_;
  SpillFile spill_;
};

}  // namespace penstock
