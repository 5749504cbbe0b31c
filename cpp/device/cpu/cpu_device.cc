#include "device/cpu/cpu_device.h"

#include <cstring>

#include "base/error.h"
#include "device/lane_use.h"
#include "device/operands.h"

namespace penstock {
namespace {

constexpr LaneId kLane{LaneKind::compute, 0};

}  // namespace

CpuDevice::CpuDevice(std::string_view isa, const DeviceOptions& options, LaneSet& lanes,
                     Budget& host)
    : lanes_(lanes), compute_(isa, options.threads, host, options.pin_threads) {
  info_.name = "cpu";
  info_.isa = compute_.isa();
  info_.memory = Tier::host;
  info_.threads = compute_.threads();
  lanes_.open(kLane);
}

CpuDevice::~CpuDevice() { settle(lanes_, kLane); }

Buffer CpuDevice::allocate(size_t bytes, Budget& budget, const std::string& what) {
  return allocate_host(bytes, budget, what);
}

Ticket CpuDevice::copy(const CopyParams& params, std::span<const Ticket> after, int64_t tag) {
  const bool forget = params.source == nullptr;
  check(!forget || params.direction == CopyDirection::within,
        "only a copy within a device has no source");
  LaneTask task{.after = {after.begin(), after.end()},
                .begin = {},
                .finish = {},
                .bytes = 0,
                .label = "copy",
                .tag = tag};
  if (!forget) {
    task.bytes = params.bytes;
    task.begin = [params] { std::memmove(params.destination, params.source, params.bytes); };
  }
  return lanes_.submit(kLane, std::move(task));
}

Ticket CpuDevice::run(const Op& op, std::span<const Ticket> after, int64_t tag) {
  return lanes_.submit(kLane, {.after = {after.begin(), after.end()},
                               .begin = [this, op] { compute_.run(op); },
                               .finish = {},
                               .bytes = 0,
                               .label = op_name(op),
                               .tag = tag});
}

void CpuDevice::wait(Ticket ticket) { lanes_.wait(ticket); }

}  // namespace penstock
