// What every part of a running engine shares: budgets per place, lanes, file workers and the
// device. Several models may share one.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "base/lane.h"
#include "device/device.h"
#include "io/async_io.h"
#include "memory/budget.h"

namespace penstock {

struct ContextOptions {
  uint64_t host_bytes = 0, disk_bytes = 0;
  std::vector<uint64_t> device_bytes;  // of each accelerator
  uint64_t reserved_host_bytes = 0;
  double disk_read_bytes_per_second = 0, disk_write_bytes_per_second = 0;  // throttles; 0: none
  double host_attention_bytes_per_second = 0;
  DeviceOptions device;  // `spec` may name several accelerators
  int read_depth = 8;    // panels in flight on the disk lane
};

class Context {
 public:
  explicit Context(const ContextOptions& options);

  Budget host, disk;
  std::deque<Budget> device_memory;  // by accelerator

 private:
  Reservation reserved_, bounce_;  // paid before what is below exists

 public:
  LaneSet lanes;
  AsyncIo io;
  std::vector<std::unique_ptr<Device>> devices;
  const LaneOptions host_compute;  // of the lane that attention beside an accelerator opens
  const bool pin_threads;

  Device& device(int ordinal = 0) const { return *devices.at(ordinal); }
  bool accelerator() const { return device().info().memory == Tier::device; }
  // Where the model computes.
  DeviceMemory compute_memory(int ordinal = 0) {
    return {&device(ordinal), accelerator() ? &device_memory.at(ordinal) : &host};
  }
  std::vector<DeviceMemory> compute_memories();
};

}  // namespace penstock
