// Runs ops whose operands are in host memory on a device that has memory of its own. Every operand
// gets an allocation, so that a checker of memory sees a step beyond it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/device.h"

namespace penstock::test {

// Host memory of one or more operands and its copy on the device, the bytes between operands
// included.
struct Region {
  const std::byte *begin = nullptr, *end = nullptr;
  std::vector<std::byte> sent, returned;
  Buffer memory;
  std::byte* device = nullptr;  // where `begin` is there, with the same alignment

  size_t bytes() const { return static_cast<size_t>(end - begin); }
  bool holds(const std::byte* at) const { return at >= begin && at < end; }
};

class Carrier {
 public:
  using Open = std::function<std::unique_ptr<Device>(const DeviceOptions&, LaneSet&, Budget&)>;
  explicit Carrier(const std::string& spec, const Open& open = open_device);

  const std::string& spec() const { return spec_; }
  const DeviceInfo& info() const { return device_->info(); }
  // Waits for it. Throws what the device throws; fails the test when the op writes elsewhere.
  void run(const Op& op);

 private:
  void run_there(const Op& op, std::vector<Region>& regions);

  std::string spec_;
  Budget host_{{Tier::host, 0}, uint64_t{1} << 30};
  Budget memory_{{Tier::device, 0}, uint64_t{2} << 30};
  LaneSet lanes_;
  std::unique_ptr<Device> device_;
};

}  // namespace penstock::test
