// What tests of the generator's parts share: requests in flight, and a small model with a plan and
// a store that keeps books of pages.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/live_request.h"
#include "engine/sweep_shaper.h"
#include "plan/policy_shape.h"
#include "plan/tiny_models.h"

namespace penstock::testing {

// A prompt that begins like no other one.
inline std::unique_ptr<LiveRequest> live_request(uint64_t id, int prompt, int max_tokens) {
  auto request = std::make_unique<LiveRequest>();
  request->id = request->prefix_group = id;
  request->tokens.assign(static_cast<size_t>(prompt), 7);
  request->tokens.front() = static_cast<int32_t>(id);
  request->prompt_tokens = prompt;
  request->asked.tokens = request->tokens;
  request->asked.sampling.max_tokens = max_tokens;
  request->asked.sampling.temperature = 0;
  request->asked.sampling.ignore_eos = true;
  return request;
}

// Its whole prompt has been read and one token came out.
inline std::unique_ptr<LiveRequest> decoding_request(uint64_t id, int prompt, int max_tokens) {
  auto request = live_request(id, prompt, max_tokens);
  request->cached = prompt;
  request->tokens.push_back(3);
  return request;
}

// Two layers, 500 token ids, pages of 16 tokens. What `wanted` leaves open follows from it.
struct PlannedModel {
  Tiny model{llama_text(64, 4, 2, 500, false)};
  Policy wanted;
  ResolvedPolicy policy;
  MemoryPlan memory;

  PlannedModel() {
    wanted.page_tokens = 16;
    wanted.max_sequences = wanted.micro_batch = 4;
    wanted.micro_batches = 2;
    wanted.micro_batch_tokens = 32;
    wanted.prefill_chunk = 20;
    model.input.workload = {8, 40, 60, 8, 8};
    plan();
  }
  void plan() {
    policy = PolicyShape(model.input, wanted).complete();
    memory = memory_plan(model.input, policy);
  }
  void use_accelerator() {
    model.input.accelerator = true;
    model.input.device_bytes = {uint64_t{1} << 40};
  }
  ShaperParts shaper_parts() const {
    return {&model.config.spec, &model.list, &memory, &policy, model.input.accelerator};
  }
  const Program& program() const { return program_of(model.input, policy); }
  // `pages` of each layer where the model computes, and in host memory beside an accelerator.
  KvStore books(int64_t pages, int64_t host_pages = 0, uint64_t disk_pages = 0) const {
    KvStoreInput input;
    input.layout = memory.kv;
    input.layers = 2;
    input.blocks = 2 * pages;
    input.host_blocks = 2 * host_pages;
    input.disk_bytes = 2 * disk_pages * kIoAlignment;
    input.accelerator = model.input.accelerator;
    return KvStore(input);
  }
};

}  // namespace penstock::testing
