#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "device/cpu/cpu_device.h"
#include "device/cuda/cuda_device.h"
#include "device/device.h"
#include "device/virtual/virtual_device.h"

namespace penstock {
namespace {

std::string known_devices() {
  std::string names = "cpu, virtual, cuda:N";
  for (const std::string_view isa : supported_isas()) {
    names.append(", cpu:").append(isa).append(", virtual:").append(isa);
  }
  return names;
}

[[noreturn]] void refuse(const std::string& spec) {
  throw Error(ErrorCode::unsupported, "unknown device",
              {.file = {},
               .field = "device",
               .found = escape_for_message(spec),
               .allowed = known_devices()});
}

bool is_supported(std::string_view isa) {
  for (const std::string_view known : supported_isas()) {
    if (known == isa) return true;
  }
  return false;
}

std::string_view kind_of(std::string_view spec) { return spec.substr(0, spec.find(':')); }

[[noreturn]] void refuse_weight_only(const std::string& spec) {
  throw Error(ErrorCode::unsupported,
              "device " + escape_for_message(spec) +
                  " does not multiply quantised weights with 16-bit activations",
              {.file = {}, .field = "compute", .found = "weight_only", .allowed = "fast, exact"});
}

std::unique_ptr<Device> open_known(const DeviceOptions& options, LaneSet& lanes, Budget& host) {
  const std::string_view spec = options.spec;
  const size_t colon = spec.find(':');
  const std::string_view kind = kind_of(spec);
  const std::string_view rest = colon == spec.npos ? "" : spec.substr(colon + 1);
  if (kind == "cuda") return open_cuda_device(rest, options, lanes, host);
  if (colon != spec.npos && rest != "auto" && !is_supported(rest)) refuse(options.spec);
  if (kind == "cpu") return std::make_unique<CpuDevice>(rest, options, lanes, host);
  if (kind == "virtual") return std::make_unique<VirtualDevice>(rest, options, lanes, host);
  refuse(options.spec);
}

}  // namespace

std::vector<std::string> device_list(const std::string& spec) {
  std::vector<std::string> devices;
  for (size_t begin = 0; begin <= spec.size();) {
    const size_t end = std::min(spec.find(',', begin), spec.size());
    devices.push_back(spec.substr(begin, end - begin));
    begin = end + 1;
  }
  const std::string_view kind = kind_of(devices.front());
  const bool accelerators = kind == "virtual" || kind == "cuda";
  for (size_t i = 1; i < devices.size(); ++i) {
    const bool twice = kind == "cuda" && std::find(devices.begin(), devices.begin() + i,
                                                   devices[i]) != devices.begin() + i;
    if (accelerators && kind_of(devices[i]) == kind && !twice) continue;
    throw Error(ErrorCode::unsupported, "a pipeline needs different accelerators of one kind",
                {.file = {},
                 .field = "device",
                 .found = escape_for_message(spec),
                 .allowed = "several of one kind, as cuda:0,cuda:1 or virtual,virtual"});
  }
  return devices;
}

std::string device_kind(const std::string& spec) {
  return std::string(kind_of(device_list(spec).front()));
}

DeviceNeeds device_needs(const std::string& spec) {
  if (device_kind(spec) != "cuda") return {};
  return {kCudaTableBytes + kCudaWorkspaceBytes, kCudaTableBytes};
}

uint64_t free_device_bytes(const std::string& spec) {
  const size_t colon = spec.find(':');
  if (device_kind(spec) != "cuda" || colon == spec.npos) return 0;
  try {
    return free_cuda_bytes(std::string_view(spec).substr(colon + 1));
  } catch (const Error&) {  // no driver, no such GPU: whoever opens it gets the error
    return 0;
  }
}

void check_compute(const std::string& spec, Compute compute) {
  if (compute == Compute::weight_only && device_kind(spec) == "cpu") refuse_weight_only(spec);
}

std::unique_ptr<Device> open_device(const DeviceOptions& options, LaneSet& lanes, Budget& host) {
  check_compute(options.spec, options.compute);
  std::unique_ptr<Device> device = open_known(options, lanes, host);
  if (options.compute == Compute::weight_only && !device->info().weight_only) {
    refuse_weight_only(options.spec);
  }
  return device;
}

}  // namespace penstock
