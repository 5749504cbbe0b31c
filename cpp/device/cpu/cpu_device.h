// The processor as the computing device: its operands live in host memory, so there is nothing to
// bring and every copy is a plain one on the compute lane. Opens the lane compute:0.
#pragma once

#include "device/cpu/cpu_compute.h"
#include "device/device.h"

namespace penstock {

class CpuDevice final : public Device {
 public:
  // `isa`: "" or "auto" for the best one.
  CpuDevice(std::string_view isa, const DeviceOptions& options, LaneSet& lanes, Budget& host);
  ~CpuDevice() override;

  const DeviceInfo& info() const override { return info_; }
  Buffer allocate(size_t bytes, Budget& budget, const std::string& what) override;
  Ticket copy(const CopyParams& params, std::span<const Ticket> after, int64_t tag) override;
  Ticket run(const Op& op, std::span<const Ticket> after, int64_t tag) override;
  void wait(Ticket ticket) override;

 private:
  LaneSet& lanes_;
  CpuCompute compute_;
  DeviceInfo info_;
};

}  // namespace penstock
