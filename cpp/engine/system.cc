#include "penstock/system.h"

#include <limits>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/version.h"
#include "device/cuda/cuda_device.h"
#include "engine/guarded.h"
#include "engine/host_limits.h"
#include "kernels/cpu/table.h"

namespace penstock {
namespace {

Json cuda_to_json(const GpuReport& report) {
  Json gpus = Json::array();
  for (const GpuFacts& gpu : report.gpus) {
    gpus.push_back(
        Json{{"name", gpu.name}, {"capability", gpu.capability}, {"memory", gpu.memory}});
  }
  return Json{{"built", report.built}, {"gpus", gpus}, {"missing", report.missing}};
}

}  // namespace

std::string describe_system() {
  return guarded([] {
    const uint64_t limit = cgroup_memory_limit();
    const bool limited = limit != std::numeric_limits<uint64_t>::max();
    Json isas = Json::array();
    for (const std::string_view isa : supported_isas()) isas.push_back(Json(isa));
    const Json memory = {{"available", available_host_bytes()}, {"limit", limited ? limit : 0}};
    const Json found = {{"version", version()},
                        {"isas", isas},
                        {"host_memory", memory},
                        {"cuda", cuda_to_json(find_gpus())}};
    return found.dump();
  });
}

}  // namespace penstock
