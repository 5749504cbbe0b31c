#include "engine/context.h"

namespace penstock {

Context::Context(const ContextOptions& options)
    : host({Tier::host, 0}, options.host_bytes),
      device_memory({Tier::device, 0}, options.device_bytes),
      disk({Tier::disk, 0}, options.disk_bytes),
      reserved_(host.reserve(options.reserved_host_bytes, "reserved")),
      bounce_(host.reserve(AsyncIo::bounce_bytes(AsyncIo::default_workers()), "io")),
      io(AsyncIo::default_workers()),
      host_compute{.delay_seed = options.device.delay_seed,
                   .bytes_per_second = options.host_attention_bytes_per_second} {
  const uint64_t seed = options.device.delay_seed;
  lanes.open({LaneKind::disk_read, 0}, {.depth = options.read_depth,
                                        .delay_seed = seed,
                                        .bytes_per_second = options.disk_read_bytes_per_second});
  lanes.open({LaneKind::disk_write, 0},
             {.delay_seed = seed, .bytes_per_second = options.disk_write_bytes_per_second});
  device = open_device(options.device, lanes, host);
}

}  // namespace penstock
