// Random policies: any shares on any tier that the device has, with all the knobs.
#pragma once

#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "penstock/engine.h"

namespace penstock::testing {

class PolicyMaker {
 public:
  explicit PolicyMaker(uint64_t seed) : generator_(seed) {}

  // `base` with a random device, number of threads and policy. `only`: that device, or those.
  EngineOptions options(EngineOptions base, const std::string& only = "") {
    base.device = !only.empty() ? only : pick(2) == 0 ? "virtual" : "cpu";
    const bool accelerator = base.device != "cpu";
    base.delay_seed = accelerator && pick(6) == 0 ? generator_() : 0;
    base.threads = 1 + pick(2);
    nlohmann::json policy;
    policy["weight_share"] = shares(accelerator, true);
    policy["kv_share"] = shares(accelerator, pick(2) == 0);
    policy["activation_share"] = shares(accelerator, pick(2) == 0);
    policy["micro_batch"] = 1 + pick(6);
    policy["micro_batches"] = 1 + pick(4);
    policy["prefill_chunk"] = 1 + pick(40);
    if (pick(3) == 0) policy["pace"] = 1 + pick(60);
    policy["admission"] = pick(2) == 0 ? "block" : "continuous";
    policy["lookahead"] = 1 + pick(3);
    policy["share_prefix"] = pick(2) == 0;
    policy["kv_split"] = pick(2) == 0;
    if (accelerator) policy["host_attention"] = pick(2) == 0;
    policy["threads"] = base.threads;
    if (pick(6) == 0) policy["overlap"] = false;
    if (pick(5) == 0) policy["step_barrier"] = true;
    if (pick(5) == 0) policy["whole_tensors"] = true;
    base.policy = policy.dump();
    return base;
  }

  int pick(int count) { return static_cast<int>(generator_() % static_cast<uint64_t>(count)); }

 private:
  nlohmann::json shares(bool device, bool disk) {
    const double on_device = device ? pick(5) / 4.0 : 0.0;
    const double on_disk = disk ? (1.0 - on_device) * pick(5) / 4.0 : 0.0;
    return {{"device", on_device}, {"disk", on_disk}, {"host", 1.0 - on_device - on_disk}};
  }

  std::mt19937_64 generator_;
};

}  // namespace penstock::testing
