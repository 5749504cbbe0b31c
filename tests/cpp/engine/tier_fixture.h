// What tests of plans over several tiers and devices share: rows of many lengths, a model for them,
// and a run whose bytes, sweeps and peaks are those that were predicted.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "penstock/engine.h"
#include "support/outcome.h"
#include "support/policy_maker.h"
#include "support/tiny_engine.h"

namespace penstock::testing {

struct TierFormat {
  bool llama;
  const char* weights;
  const char* kv;
  int policies;
};

// The tiny models, with room for sequences of more than one attention segment.
inline std::string config_of(const TierFormat& format) {
  std::string config = format.llama ? tiny_llama_config("float32") : tiny_opt_config("float32");
  const std::string key = "\"max_position_embeddings\":256";
  return config.replace(config.find(key), key.size(), "\"max_position_embeddings\":900");
}

inline std::vector<int32_t> random_tokens(uint32_t seed, int count) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 500);
  return tokens;
}

// Different prompts, short and long (sequences that are cut between host and device hold several
// attention segments), two of them with a common beginning, one scored.
inline std::vector<Request> requests() {
  const std::vector<int32_t> header = random_tokens(1, 290);
  std::vector<Request> requests;
  const int lengths[] = {40, 530, 7, 301, 1, 255, 322, 90};
  for (int i = 0; i < 8; ++i) {
    Request& request = requests.emplace_back();
    if (i == 3 || i == 6) request.tokens = header;
    const int own = lengths[i] - static_cast<int>(request.tokens.size());
    for (const int32_t token : random_tokens(100 + i, own)) request.tokens.push_back(token);
    request.sampling.max_tokens = 3 + i % 5;
    request.sampling.temperature = i % 2 == 0 ? 0.0 : 0.8;
    request.sampling.seed = static_cast<uint64_t>(i);
    request.sampling.ignore_eos = true;
    if (i % 3 != 1) request.sampling.logprobs = 2;  // their logits come to the host
    request.score = i == 7;
  }
  return requests;
}

// A tiny model in a folder of its own, jobs on it, and what was predicted of them.
class TierFixture : public ::testing::TestWithParam<TierFormat> {
 protected:
  TierFixture() {
    base_.weights = GetParam().weights;
    base_.kv = GetParam().kv;
    base_.host_memory = uint64_t{256} << 20;
    base_.device_memory = {uint64_t{128} << 20};
    base_.disk_memory = uint64_t{256} << 20;
    base_.expected_rows = 8;
    base_.max_prompt = 530;
    base_.mean_prompt = 200;
    base_.mean_new = 5;
    base_.max_new = 8;
  }

  static Outcome run(const EngineOptions& options) {
    Engine engine(options);
    Outcome outcome;
    const nlohmann::json predicted = nlohmann::json::parse(engine.predict(request_lengths()));
    collect(engine, submit(engine, requests()), outcome);
    expect_honest(outcome.stats);
    expect_predicted(outcome.stats, predicted);
    outcome.logits = engine.logits(requests()[7].tokens);
    return outcome;
  }

  static std::vector<RowTokens> request_lengths() {
    std::vector<RowTokens> rows;
    for (const Request& request : requests()) {
      rows.push_back({static_cast<int64_t>(request.tokens.size()),
                      request.score ? 0 : request.sampling.max_tokens, request.tokens,
                      request.sampling.logprobs >= 0});
    }
    return rows;
  }

  // Integers: bytes of every lane, sweeps, tokens, peaks of every tier.
  static void expect_predicted(const Stats& stats, const nlohmann::json& predicted) {
    EXPECT_EQ(stats.sweeps, predicted.at("sweeps").get<uint64_t>());
    EXPECT_EQ(stats.generated_tokens, predicted.at("generated_tokens").get<uint64_t>());
    EXPECT_EQ(stats.prompt_tokens, predicted.at("prompt_tokens").get<uint64_t>());
    for (const auto& [lane, bytes] : stats.predicted_bytes) {
      const auto& lanes = predicted.at("lanes");
      const uint64_t wanted = lanes.contains(lane) ? lanes.at(lane).at("bytes").get<uint64_t>() : 0;
      EXPECT_EQ(bytes, wanted) << lane;
    }
    for (const auto& [tier, peak] : stats.peak_bytes) {
      EXPECT_EQ(peak, predicted.at("peak_bytes").at(tier).get<uint64_t>()) << tier;
    }
  }

  TinyEngine tiny_{config_of(GetParam())};
  EngineOptions base_ = tiny_.options;
};

inline std::string format_name(const ::testing::TestParamInfo<TierFormat>& info) {
  const TierFormat& format = info.param;
  std::string name =
      std::string(format.llama ? "llama" : "opt") + "_" + format.weights + "_" + format.kv;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace penstock::testing
