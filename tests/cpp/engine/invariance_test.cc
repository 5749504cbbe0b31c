// Results do not depend on the plan: random policies, devices, budgets and thread counts give the
// same tokens, log-probabilities and logits, bit for bit, for every weight and KV format. On the
// way, bytes moved equal bytes scheduled and no budget is exceeded.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <random>

#include "penstock/engine.h"
#include "support/tiny_model.h"

namespace penstock {
namespace {

using testing::tiny_llama_config;
using testing::tiny_opt_config;
using testing::write_tiny_model;

struct Outcome {
  std::map<int, std::vector<int32_t>> tokens;
  std::map<int, std::vector<float>> numbers;  // log-probabilities of choices and prompts
  std::vector<float> logits;

  bool operator==(const Outcome& other) const {
    const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
      return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    };
    if (tokens != other.tokens || !same(logits, other.logits)) return false;
    for (const auto& [row, values] : numbers) {
      if (!other.numbers.contains(row) || !same(values, other.numbers.at(row))) return false;
    }
    return numbers.size() == other.numbers.size();
  }
};

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

void expect_honest(const Engine& engine) {
  const Stats stats = engine.stats();
  for (const auto& [lane, bytes] : stats.predicted_bytes) {
    EXPECT_EQ(stats.lanes.at(lane).bytes, bytes) << lane;
  }
  for (const auto& [tier, peak] : stats.peak_bytes)
    EXPECT_LE(peak, stats.budget_bytes.at(tier)) << tier;
}

Outcome run(const EngineOptions& options) {
  Engine engine(options);
  const std::vector<Request> requests = make_requests(engine.vocab());
  std::map<uint64_t, int> row_of;
  for (size_t i = 0; i < requests.size(); ++i) {
    row_of[engine.submit(requests[i])] = static_cast<int>(i);
  }
  Outcome outcome;
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      const int row = row_of.at(event.request);
      for (const TokenChoice& choice : event.tokens) {
        outcome.tokens[row].push_back(choice.token);
        outcome.numbers[row].push_back(choice.logprob);
        for (const auto& [token, logprob] : choice.top) outcome.numbers[row].push_back(logprob);
      }
      auto& numbers = outcome.numbers[row];
      numbers.insert(numbers.end(), event.prompt_logprobs.begin(), event.prompt_logprobs.end());
    }
  }
  outcome.logits = engine.logits(requests[5].tokens);
  expect_honest(engine);
  return outcome;
}

class PolicyMaker {
 public:
  explicit PolicyMaker(uint64_t seed) : generator_(seed) {}

  EngineOptions options(EngineOptions base) {
    const bool virtual_device = pick(2) == 0;
    base.device = virtual_device ? "virtual" : "cpu";
    base.delay_seed = virtual_device && pick(2) == 0 ? generator_() : 0;
    base.threads = 1 + pick(2);
    base.expected_rows = 1 + pick(12);
    base.max_prompt = 70;
    base.max_new = 10;
    nlohmann::json policy;
    policy["weight_share"] = shares(virtual_device, true);
    policy["micro_batch"] = 1 + pick(6);
    policy["micro_batches"] = 1 + pick(4);
    policy["prefill_chunk"] = 1 + pick(40);
    if (pick(3) == 0) policy["pace"] = 1 + pick(60);
    policy["admission"] = pick(2) == 0 ? "block" : "continuous";
    policy["lookahead"] = 1 + pick(3);
    policy["threads"] = base.threads;
    if (!virtual_device) {
      policy["kv_share"] = shares(false, pick(2) == 0);
      policy["activation_share"] = shares(false, pick(2) == 0);
    }
    base.policy = policy.dump();
    return base;
  }

 private:
  int pick(int count) { return static_cast<int>(generator_() % static_cast<uint64_t>(count)); }

  nlohmann::json shares(bool device, bool disk) {
    const double on_device = device ? pick(5) / 4.0 : 0.0;
    const double on_disk = disk ? (1.0 - on_device) * pick(5) / 4.0 : 0.0;
    return {{"device", on_device}, {"disk", on_disk}, {"host", 1.0 - on_device - on_disk}};
  }

  std::mt19937_64 generator_;
};

struct Case {
  const char* model;
  const char* weights;
  const char* kv;
};

class Invariance : public ::testing::TestWithParam<Case> {};

TEST_P(Invariance, RandomPoliciesGiveTheSameBits) {
  const auto [model, weights, kv] = GetParam();
  const std::string name = std::string(model) + "-" + weights + "-" + kv;
  const std::string folder =
      ::testing::TempDir() + "penstock-invariance-" + std::to_string(::getpid()) + name;
  const std::string dtype = std::string(kv) == "fp16"   ? "float16"
                            : std::string(kv) == "bf16" ? "bfloat16"
                                                        : "float32";
  write_tiny_model(folder,
                   std::string(model) == "opt" ? tiny_opt_config(dtype) : tiny_llama_config(dtype));
  EngineOptions base;
  base.model = folder;
  base.weights = weights;
  base.kv = kv;
  base.threads = 1;
  base.host_memory = uint64_t{96} << 20;
  base.device_memory = uint64_t{64} << 20;
  base.disk = ::testing::TempDir();
  base.disk_memory = uint64_t{64} << 20;
  const Outcome expected = run(base);
  ASSERT_EQ(expected.tokens.size(), 6u);  // one of the seven rows is scored
  PolicyMaker maker(std::hash<std::string>{}(name));
  for (int i = 0; i < 14; ++i) {
    const EngineOptions options = maker.options(base);
    ASSERT_EQ(run(options), expected) << options.device << " " << options.policy;
  }
  std::filesystem::remove_all(folder);
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
