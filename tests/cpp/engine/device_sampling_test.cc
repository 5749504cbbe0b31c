// Tokens are the same whether the device chooses them or the host does from logits that crossed,
// which is the case for rows that want log-probabilities; what crosses is what the rows want.
#include <gtest/gtest.h>

#include <set>

#include "penstock/engine.h"
#include "support/outcome.h"
#include "support/test_device.h"
#include "support/tiny_engine.h"

namespace penstock {
namespace {

using testing::Outcome;

constexpr int kRows = 8, kNew = 5;

class DeviceSampling : public ::testing::Test {
 protected:
  DeviceSampling() {
    options_.kv = "fp32";
    options_.threads = 2;
    options_.disk.clear();
    options_.disk_memory = 0;
    options_.expected_rows = kRows;
    options_.max_prompt = 20;
    options_.max_new = kNew;
  }

  // Of greedy rows, of all, of the best by number, mass and share. `with_logprobs` says which.
  template <class F>
  static std::vector<Request> requests(F with_logprobs) {
    std::vector<Request> made(kRows);
    for (int i = 0; i < kRows; ++i) {
      for (int t = 0; t < 3 + 2 * i; ++t) made[i].tokens.push_back((t * 37 + i * 11) % 500);
      Sampling& how = made[i].sampling;
      how.max_tokens = kNew;
      how.ignore_eos = true;
      how.seed = static_cast<uint64_t>(i);
      how.temperature = i % 4 == 0 ? 0 : 0.8 * i;
      if (i % 4 == 2) how.top_k = 30;
      if (i >= 4) how.top_p = 0.9;
      if (i >= 6) how.min_p = 0.01;
      if (with_logprobs(i)) how.logprobs = 0;
    }
    return made;
  }

  template <class F>
  Outcome run(const std::string& device, F with_logprobs) {
    EngineOptions options = options_;
    options.device = device;
    Engine engine(options);
    Outcome outcome;
    testing::collect(engine, testing::submit(engine, requests(with_logprobs)), outcome);
    testing::expect_honest(outcome.stats);
    vocab_ = engine.vocab();
    return outcome;
  }

  testing::TinyEngine tiny_{testing::tiny_llama_config("float32")};
  EngineOptions options_ = tiny_.options;
  int vocab_ = 0;
};

TEST_F(DeviceSampling, TokensDoNotDependOnWhoChoosesThem) {
  const auto none = [](int) { return false; };
  const auto all = [](int) { return true; };
  const Outcome cpu = run("cpu", none);
  std::set<std::vector<int32_t>> different;
  for (const auto& [row, tokens] : cpu.tokens) different.insert(tokens);
  EXPECT_GE(different.size(), 6u);
  for (const std::string& device : test::devices_and({"cpu", "virtual"})) {
    SCOPED_TRACE(device);
    EXPECT_EQ(run(device, none).tokens, run(device, all).tokens);
    EXPECT_EQ(run(device, [](int i) { return i % 3 == 1; }).tokens, run(device, all).tokens);
  }
  EXPECT_EQ(run("virtual", none).tokens, cpu.tokens);
}

TEST_F(DeviceSampling, OnlyTheLogitsThatAreWantedCross) {
  const auto down = [&](int rows_with_logprobs) {
    const Outcome outcome = run("virtual", [=](int i) { return i < rows_with_logprobs; });
    return outcome.stats.lanes.at("d2h").bytes;
  };
  const uint64_t token = sizeof(int32_t);
  EXPECT_EQ(down(0), kRows * kNew * token);
  EXPECT_EQ(down(kRows), kRows * kNew * static_cast<uint64_t>(vocab_) * sizeof(float));
  EXPECT_EQ(down(3), kNew * (5 * token + 3 * static_cast<uint64_t>(vocab_) * sizeof(float)));
}

}  // namespace
}  // namespace penstock
