#include "engine/context.h"

namespace penstock {

Context::Context(const ContextOptions& options)
    : host({Tier::host, 0}, options.host_bytes),
      disk({Tier::disk, 0}, options.disk_bytes),
      reserved_(host.reserve(options.reserved_host_bytes, "reserved")),
      bounce_(host.reserve(AsyncIo::bounce_bytes(kFileWorkers), "io")),
      io(kFileWorkers),
      host_compute{.delay_seed = options.device.delay_seed,
                   .bytes_per_second = options.host_attention_bytes_per_second},
      pin_threads(options.device.pin_threads) {
  const uint64_t seed = options.device.delay_seed;
  lanes.open({LaneKind::disk_read, 0}, {.depth = options.read_depth,
                                        .delay_seed = seed,
                                        .bytes_per_second = options.disk_read_bytes_per_second});
  lanes.open({LaneKind::disk_write, 0},
             {.delay_seed = seed, .bytes_per_second = options.disk_write_bytes_per_second});
  for (const uint64_t bytes : options.device_bytes) {
    device_memory.emplace_back(Place{Tier::device, static_cast<int>(device_memory.size())}, bytes);
  }
  DeviceOptions one = options.device;
  for (const std::string& spec : device_list(options.device.spec)) {
    one.spec = spec;
    one.ordinal = static_cast<int>(devices.size());
    if (!device_memory.empty()) {
      one.memory = &device_memory.at(devices.size());
      one.device_memory = one.memory->limit();
    }
    devices.push_back(open_device(one, lanes, host));
  }
}

std::vector<DeviceMemory> Context::compute_memories() {
  std::vector<DeviceMemory> memories;
  for (size_t device = 0; device < devices.size(); ++device) {
    memories.push_back(compute_memory(static_cast<int>(device)));
  }
  return memories;
}

}  // namespace penstock
