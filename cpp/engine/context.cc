#include "engine/context.h"

namespace penstock {

Context::Context(const ContextOptions& options)
    : host({Tier::host, 0}, options.host_bytes),
      device_memory({Tier::device, 0}, options.device_bytes),
      disk({Tier::disk, 0}, options.disk_bytes),
      reserved_(host.reserve(options.reserved_host_bytes, "reserved")),
      bounce_(host.reserve(AsyncIo::bounce_bytes(AsyncIo::default_workers()), "io")),
      io(AsyncIo::default_workers()),
      delay_seed(options.device.delay_seed) {
  LaneOptions read{.depth = options.read_depth, .delay_seed = options.device.delay_seed};
  lanes.open({LaneKind::disk_read, 0}, read);
  lanes.open({LaneKind::disk_write, 0}, {.delay_seed = options.device.delay_seed});
  device = open_device(options.device, lanes, host);
}

}  // namespace penstock
