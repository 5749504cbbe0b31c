// What every part of a running engine shares: budgets per place, lanes, file workers and the
// device. Several models may share one.
#pragma once

#include <memory>

#include "base/lane.h"
#include "device/device.h"
#include "io/async_io.h"
#include "memory/budget.h"

namespace penstock {

struct ContextOptions {
  uint64_t host_bytes = 0, device_bytes = 0, disk_bytes = 0;
  uint64_t reserved_host_bytes = 0;
  double disk_read_bytes_per_second = 0, disk_write_bytes_per_second = 0;  // throttles; 0: none
  double host_attention_bytes_per_second = 0;
  DeviceOptions device;
  int read_depth = 8;  // panels in flight on the disk lane
};

class Context {
 public:
  explicit Context(const ContextOptions& options);

  Budget host, device_memory, disk;

 private:
  Reservation reserved_, bounce_;  // paid before what is below exists

 public:
  LaneSet lanes;
  AsyncIo io;
  std::unique_ptr<Device> device;
  const LaneOptions host_compute;  // of the lane that attention beside an accelerator opens

  bool accelerator() const { return device->info().memory == Tier::device; }
  Budget& compute_memory() { return accelerator() ? device_memory : host; }
};

}  // namespace penstock
