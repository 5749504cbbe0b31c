#include "device/virtual/virtual_device.h"

#include <cstring>

#include "base/error.h"
#include "device/operands.h"

namespace penstock {
namespace {

[[noreturn]] void violation(const char* work, const char* name, size_t bytes, const char* rule) {
  throw Error(ErrorCode::device, std::string(work) + ": the " + std::to_string(bytes) +
                                     " bytes of '" + name + "' " + rule);
}

}  // namespace

VirtualDevice::VirtualDevice(std::string_view isa, const DeviceOptions& options, LaneSet& lanes,
                             Budget& host)
    : lanes_(lanes),
      own_(options.ordinal),
      compute_(isa, options.threads, host, options.pin_threads),
      memory_(options.device_memory, options.guard_pages),
      flops_per_second_(options.flops_per_second),
      attention_bytes_per_second_(options.attention_bytes_per_second) {
  info_.name = "virtual";
  info_.isa = info_.host_isa = compute_.isa();
  info_.memory = Tier::device;
  info_.threads = compute_.threads();
  info_.weight_only = compute_.weight_only();
  info_.raw_inputs = compute_.raw_inputs();
  info_.capacity_bytes = options.device_memory;
  LaneOptions lane{.delay_seed = options.delay_seed};
  lanes_.open(own_.compute, lane);
  lane.bytes_per_second = options.h2d_bytes_per_second;
  lanes_.open(own_.h2d, lane);
  lane.bytes_per_second = options.d2h_bytes_per_second;
  lanes_.open(own_.d2h, lane);
}

VirtualDevice::~VirtualDevice() {
  for (const LaneId id : {own_.h2d, own_.compute, own_.d2h}) settle(lanes_, id);
}

Buffer VirtualDevice::allocate(size_t bytes, Budget& budget, const std::string& what) {
  if (budget.place().tier == Tier::host) return allocate_host(bytes, budget, what);
  return memory_.allocate(bytes, budget, what);
}

Ticket VirtualDevice::copy(const CopyParams& params, std::span<const Ticket> after, int64_t tag) {
  check(params.source || params.direction == CopyDirection::within,
        "only a copy within a device has no source");
  const bool sends = params.direction == CopyDirection::peer;
  return lanes_.submit(
      own_.of(params.direction),
      {.after = {after.begin(), after.end()},
       .begin = [this, params, sends] { sends ? send_now(params) : copy_now(params); },
       .finish = {},
       .bytes = params.source ? params.bytes : 0,
       .label = name_of(params),
       .tag = tag});
}

Ticket VirtualDevice::run(const Op& op, std::span<const Ticket> after, int64_t tag) {
  return lanes_.submit(own_.compute, {.after = {after.begin(), after.end()},
                                      .begin = [this, op] { run_now(op); },
                                      .finish = {},
                                      .bytes = 0,
                                      .label = op_name(op),
                                      .tag = tag,
                                      .seconds = modelled_seconds(op)});
}

void VirtualDevice::wait(Ticket ticket) { lanes_.wait(ticket); }

double VirtualDevice::modelled_seconds(const Op& op) const {
  double seconds = 0, flops = op_flops(op);
  if (attention_bytes_per_second_ > 0) {
    const DecodeAttention decode = decode_attention(op);
    seconds += decode.bytes / attention_bytes_per_second_;
    flops -= decode.flops;
  }
  if (flops_per_second_ > 0) seconds += flops / flops_per_second_;
  return seconds;
}

void VirtualDevice::run_now(const Op& op) {
  for (const Operand& operand : operands(op)) {
    require_inside(operand.data, operand.bytes(), op_name(op), operand.name);
  }
  const VirtualMemory::Step step(memory_);
  compute_.run(op);
}

void VirtualDevice::copy_now(const CopyParams& params) {
  const char* work = name_of(params);
  const bool from_host = params.direction == CopyDirection::h2d;
  const bool to_host = params.direction == CopyDirection::d2h;
  if (to_host) {
    require_outside(params.destination, params.bytes, work, "destination");
  } else {
    require_inside(params.destination, params.bytes, work, "destination");
  }
  if (from_host) {
    require_outside(params.source, params.bytes, work, "source");
  } else if (params.source) {
    require_inside(params.source, params.bytes, work, "source");
  }
  const VirtualMemory::Step step(memory_);
  if (params.source) {
    std::memmove(params.destination, params.source, params.bytes);
  } else {
    VirtualMemory::poison(params.destination, params.bytes);
  }
}

void VirtualDevice::send_now(const CopyParams& params) {
  auto* peer = dynamic_cast<VirtualDevice*>(params.peer);
  check(peer != nullptr, "a copy to a peer names one of the same kind");
  require_inside(params.source, params.bytes, "peer", "source");
  peer->require_inside(params.destination, params.bytes, "peer", "destination");
  const VirtualMemory::Step from(memory_), to(peer->memory_);
  std::memmove(params.destination, params.source, params.bytes);
}

void VirtualDevice::require_inside(const void* data, size_t bytes, const char* work,
                                   const char* name) const {
  if (!memory_.contains(data, bytes))
    violation(work, name, bytes, "are not inside the device's memory");
}

void VirtualDevice::require_outside(const void* data, size_t bytes, const char* work,
                                    const char* name) const {
  if (!memory_.avoids(data, bytes)) violation(work, name, bytes, "must be host memory");
}

}  // namespace penstock
