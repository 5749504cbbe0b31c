// A tiny model with weights, pages and hidden rows on every tier of a virtual accelerator, and a
// sweep of it, for tests of the executor's parts.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <optional>
#include <string>

#include "engine/assembly.h"
#include "engine/live_requests.h"
#include "engine/step_places.h"
#include "support/tiny_engine.h"

namespace penstock::testing {

class ExecutorBench : public ::testing::Test {
 protected:
  ExecutorBench() {
    EngineOptions options = tiny_.options;
    options.device = "virtual";
    options.expected_rows = 6;
    options.max_prompt = options.mean_prompt = 40;
    options.max_new = options.mean_new = 4;
    options.policy = R"({"weight_share": {"host": 0.4, "disk": 0.6},
        "kv_share": {"device": 0.34, "host": 0.33, "disk": 0.33},
        "activation_share": {"device": 0.34, "host": 0.33, "disk": 0.33},
        "micro_batch": 2, "micro_batches": 3, "micro_batch_tokens": 40, "prefill_chunk": 20,
        "max_sequences": 6, "threads": 1, "host_attention": false})";
    parts_.emplace(options, PackProgress{});
    executor_parts_ = parts_->executor_parts();
    const ExecutorParts& p = executor_parts_;
    staging_.emplace(
        Staging::Parts{p.context, p.spec, p.program, p.weights, p.memory, p.policy, p.compute});
    places_.emplace(executor_parts_, *staging_);
    sweep_.emplace(0, *p.kv, PageRules{p.policy->page_tokens, true, p.policy->host_attention});
    plan_sweep();
  }
  ~ExecutorBench() override { parts_->context.lanes.recover(); }

  // The first step of that kind, of a micro-batch whose hidden rows have that home.
  const Step& step(StepKind kind, std::optional<HiddenHome> home = {}) const {
    for (const Step& one : schedule_.steps) {
      if (one.kind != kind) continue;
      if (!home || plan_.batches.at(one.batch).hidden == *home) return one;
    }
    ADD_FAILURE() << "no step " << step_label(kind);
    return schedule_.steps.front();
  }
  StepCall call(const Step& step) { return {step, *sweep_, {}}; }
  void wait(Ticket ticket) { parts_->context.lanes.wait(ticket); }

  // What the memory of the accelerator holds, through one of its own copies.
  std::vector<std::byte> on_device(const void* data, size_t bytes) {
    std::vector<std::byte> copy(bytes);
    Device& device = parts_->context.device();
    device.wait(device.copy({copy.data(), data, bytes, CopyDirection::d2h}, {}));
    return copy;
  }

  TinyEngine tiny_{tiny_llama_config("float32")};
  std::optional<Assembly> parts_;
  ExecutorParts executor_parts_;
  std::optional<Staging> staging_;
  std::optional<StepPlaces> places_;
  std::optional<RequestPool> pool_;
  SweepPlan plan_;
  std::vector<BatchShape> shapes_;
  Schedule schedule_;
  Carry carry_;
  std::optional<BoundSweep> sweep_;

 private:
  // Six prompts, whose pages are dealt to all tiers.
  void plan_sweep() {
    const ExecutorParts& p = executor_parts_;
    pool_.emplace(*p.memory, *p.policy, *p.kv, true);
    for (uint64_t id = 1; id <= 6; ++id) pool_->add(live_request(id, 20, 4));
    pool_->admit();
    std::vector<LiveRequest*> requests = pool_->in_service(0);
    EXPECT_EQ(requests.size(), 6u);
    EXPECT_TRUE(pool_->reserve_pages(&requests, false));
    const SweepShaper shaper({p.spec, p.weights, p.memory, p.policy, true});
    plan_ = SweepPlanner(*p.memory, *p.policy, shaper).plan(requests);
    EXPECT_EQ(plan_.batches.size(), 3u);
    shapes_ = shaper.shapes(plan_);
    Built built =
        build_sweep(p.memory->weights.visits, *p.program, shapes_, shaper.build_options(), carry_);
    schedule_ = std::move(built.schedule);
    carry_ = std::move(built.carry);
    sweep_->binding.bind(plan_);
    sweep_->panels.assign(p.memory->weights.visits.size(), {});
  }
};

}  // namespace penstock::testing
