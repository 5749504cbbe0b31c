// An accelerator in every respect but speed, on the processor: memory of its own with a capacity
// and NaNs in it until written, copy lanes and a compute lane with seeded delays, bytes counted per
// lane, links and compute optionally slowed to a given rate. Its kernels are the processor's, so
// its results equal the `cpu` device's bit for bit. Opens the lanes of its ordinal. Every operand
// of an op must lie in its memory, and a copy on the sides its direction says: anything else is
// Error(device) at the lane. An op that a real accelerator would be broken by is refused here.
#pragma once

#include "device/cpu/cpu_compute.h"
#include "device/device.h"
#include "device/lane_use.h"
#include "device/virtual/virtual_memory.h"

namespace penstock {

class VirtualDevice final : public Device {
 public:
  VirtualDevice(std::string_view isa, const DeviceOptions& options, LaneSet& lanes, Budget& host);
  ~VirtualDevice() override;

  const DeviceInfo& info() const override { return info_; }
  Buffer allocate(size_t bytes, Budget& budget, const std::string& what) override;
  Ticket copy(const CopyParams& params, std::span<const Ticket> after, int64_t tag) override;
  Ticket run(const Op& op, std::span<const Ticket> after, int64_t tag) override;
  void wait(Ticket ticket) override;

 private:
  double modelled_seconds(const Op& op) const;
  void run_now(const Op& op);
  void copy_now(const CopyParams& params);
  void send_now(const CopyParams& params);
  void require_inside(const void* data, size_t bytes, const char* work, const char* name) const;
  void require_outside(const void* data, size_t bytes, const char* work, const char* name) const;

  LaneSet& lanes_;
  DeviceLanes own_;
  CpuCompute compute_;
  VirtualMemory memory_;
  double flops_per_second_, attention_bytes_per_second_;
  DeviceInfo info_;
};

}  // namespace penstock
