// Random budgets on every tier: what is accepted runs and stays within them to the byte, what is
// refused is refused before any work, and no policy that we can think of would have fitted.
#include <gtest/gtest.h>

#include <random>

#include "penstock/engine.h"
#include "penstock/planning.h"
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

constexpr int kBudgets = 200, kPolicies = 60;

std::vector<Request> requests() {
  std::mt19937 random(2);
  std::vector<Request> requests(6, testing::greedy_request(4));
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].tokens.resize(5 + 9 * i);
    for (int32_t& token : requests[i].tokens) token = static_cast<int32_t>(random() % 500);
  }
  return requests;
}

// What is not asked for by a policy: shares, launches, chunks of the smallest kind.
std::string small(const std::string& policy) {
  nlohmann::json json = nlohmann::json::parse(policy);
  json["micro_batch_tokens"] = json["prefill_chunk"];
  json["max_sequences"] = 1;
  json["micro_batch"] = json["micro_batches"] = 1;
  json["ring_slots"] = 1;
  return json.dump();
}

void expect_nothing_fits(const EngineOptions& options, PolicyMaker& maker) {
  const Planning planning(options);
  for (int i = 0; i < kPolicies; ++i) {
    const std::string policy = maker.options(options, options.device).policy;
    for (const std::string& text : {policy, small(policy)}) {
      const nlohmann::json evaluated = nlohmann::json::parse(planning.evaluate(text));
      EXPECT_FALSE(evaluated.at("fits").get<bool>()) << options.device << " " << text << "\n"
                                                     << evaluated;
    }
  }
}

TEST(Budgets, AreKeptOrRefusedWithReason) {
  const testing::TinyEngine llama_model(testing::tiny_llama_config("bfloat16"));
  const testing::TinyEngine opt_model(testing::tiny_opt_config("float16"));
  std::mt19937_64 random(9);
  PolicyMaker maker(9);
  const auto between = [&](double low, double high) {  // evenly over magnitudes
    const double part = static_cast<double>(random() >> 11) / static_cast<double>(1ULL << 53);
    return static_cast<uint64_t>(low * std::pow(high / low, part));
  };
  int ran = 0, refused = 0;
  Outcome expected;
  for (int i = 0; i < kBudgets; ++i) {
    const bool llama = i % 2 == 0;
    EngineOptions options;
    options.model = (llama ? llama_model : opt_model).options.model;
    options.device = random() % 2 == 0 ? "cpu" : "virtual";
    options.host_memory = between(1e6, 16e6);
    options.device_memory = {between(2e5, 4e6)};
    if (random() % 2 == 0) {
      options.disk = ::testing::TempDir();
      options.disk_memory = between(1e4, 8e6);
    }
    options.threads = 1;
    options.expected_rows = 6;
    options.max_prompt = options.mean_prompt = 50;
    options.max_new = options.mean_new = 4;
    try {
      Engine engine(options);
      Outcome outcome;
      collect(engine, submit(engine, requests()), outcome);
      expect_honest(outcome.stats);
      ASSERT_EQ(outcome.tokens.size(), 6u);
      ++ran;
    } catch (const ApiError& error) {
      ASSERT_EQ(error.code, "budget") << error.what();
      expect_nothing_fits(options, maker);
      ++refused;
    }
  }
  EXPECT_GT(ran, kBudgets / 4);
  EXPECT_GT(refused, kBudgets / 8);
}

}  // namespace
}  // namespace penstock
