#include "penstock/system.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/version.h"
#include "device/cuda/cuda_device.h"
#include "engine/guarded.h"
#include "engine/host_limits.h"
#include "kernels/cpu/table.h"

namespace penstock {
namespace {

nlohmann::json cuda_to_json(const GpuReport& report) {
  nlohmann::json gpus = nlohmann::json::array();
  for (const GpuFacts& gpu : report.gpus) {
    gpus.push_back({{"name", gpu.name}, {"capability", gpu.capability}, {"memory", gpu.memory}});
  }
  return {{"built", report.built}, {"gpus", gpus}, {"missing", report.missing}};
}

}  // namespace

std::string describe_system() {
  return guarded([] {
    const uint64_t limit = cgroup_memory_limit();
    const bool limited = limit != std::numeric_limits<uint64_t>::max();
    const nlohmann::json memory = {{"available", available_host_bytes()},
                                   {"limit", limited ? limit : 0}};
    const nlohmann::json found = {{"version", version()},
                                  {"isas", supported_isas()},
                                  {"host_memory", memory},
                                  {"cuda", cuda_to_json(find_gpus())}};
    return found.dump();
  });
}

}  // namespace penstock
