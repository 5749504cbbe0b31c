// Results do not depend on the plan: random policies, devices, budgets and thread counts give the
// same tokens, log-probabilities and logits, bit for bit, for every weight and KV format. On the
// way, bytes moved equal bytes scheduled and no budget is exceeded.
#include <gtest/gtest.h>

#include <random>

#include "penstock/engine.h"
#include "support/outcome.h"
#include "support/policy_maker.h"
#include "support/tiny_engine.h"

namespace penstock {
namespace {

using testing::collect;
using testing::expect_honest;
using testing::Outcome;
using testing::PolicyMaker;
using testing::submit;
using testing::tiny_llama_config;
using testing::tiny_opt_config;
using testing::TinyEngine;

std::vector<Request> make_requests(int vocab) {
  std::mt19937 generator(7);
  std::vector<Request> requests;
  for (const int length : {1, 17, 70, 33, 5, 48, 2}) {
    Request& request = requests.emplace_back();
    for (int i = 0; i < length; ++i)
      request.tokens.push_back(static_cast<int>(generator() % vocab));
    request.sampling.max_tokens = 2 + length % 9;
    request.sampling.ignore_eos = true;
    request.sampling.logprobs = 3;
    request.sampling.temperature = length % 2 == 0 ? 0.0 : 0.9;
    request.sampling.seed = 100 + static_cast<uint64_t>(length);
    request.score = length == 33;
    request.prompt_logprobs = length == 48;
  }
  return requests;
}

Outcome run(const EngineOptions& options) {
  Engine engine(options);
  const std::vector<Request> requests = make_requests(engine.vocab());
  Outcome outcome;
  collect(engine, submit(engine, requests), outcome);
  outcome.logits = engine.logits(requests[5].tokens);
  expect_honest(engine.stats());
  return outcome;
}

struct Case {
  const char* model;
  const char* weights;
  const char* kv;
};

class Invariance : public ::testing::TestWithParam<Case> {};

TEST_P(Invariance, RandomPoliciesGiveTheSameBits) {
  const auto [model, weights, kv] = GetParam();
  const std::string name = std::string(model) + "-" + weights + "-" + kv;
  const std::string dtype = std::string(kv) == "fp16"   ? "float16"
                            : std::string(kv) == "bf16" ? "bfloat16"
                                                        : "float32";
  const TinyEngine tiny(std::string(model) == "opt" ? tiny_opt_config(dtype)
                                                    : tiny_llama_config(dtype));
  EngineOptions base = tiny.options;
  base.weights = weights;
  base.kv = kv;
  const Outcome expected = run(base);
  ASSERT_EQ(expected.tokens.size(), 6u);  // one of the seven rows is scored
  PolicyMaker maker(std::hash<std::string>{}(name));
  for (int i = 0; i < 14; ++i) {
    base.expected_rows = 1 + maker.pick(12);
    base.max_prompt = 70;
    base.max_new = 10;
    const EngineOptions options = maker.options(base);
    ASSERT_TRUE(run(options).same(expected)) << options.device << " " << options.policy;
  }
}

std::vector<Case> cases() {
  return {{"llama", "auto", "fp32"},     {"llama", "auto", "bf16"}, {"llama", "auto", "fp16"},
          {"llama", "auto", "int8"},     {"llama", "auto", "int4"}, {"llama", "int8", "bf16"},
          {"llama", "int8-g64", "int8"}, {"llama", "int4", "int4"}, {"llama", "int4-g32", "bf16"},
          {"opt", "auto", "fp32"},       {"opt", "auto", "bf16"},   {"opt", "int8", "fp32"},
          {"opt", "int8", "int8"},       {"opt", "int4", "fp16"},   {"opt", "int4-g128", "int4"}};
}

INSTANTIATE_TEST_SUITE_P(Formats, Invariance, ::testing::ValuesIn(cases()), [](const auto& info) {
  std::string name = std::string(info.param.model) + "_" + info.param.weights + "_" + info.param.kv;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace penstock
