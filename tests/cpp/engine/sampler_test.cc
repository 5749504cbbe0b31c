#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "base/error.h"
#include "base/random.h"

namespace penstock {
namespace {

std::vector<float> random_logits(int vocab, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  std::vector<float> logits(vocab);
  for (float& logit : logits) logit = normal(generator);
  return logits;
}

TokenChoice choose(const std::vector<float>& logits, const Sampling& sampling,
                   std::span<const int32_t> generated = {}) {
  SamplerInput input;
  input.sampling = &sampling;
  input.generated = generated;
  Sampler sampler(static_cast<int>(logits.size()));
  return sampler.choose(logits.data(), input);
}

std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  std::vector<double> p;
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit / temperature);
  for (const float logit : logits) p.push_back(std::exp(logit / temperature) / sum);
  return p;
}

Sampling greedy_sampling() {
  Sampling sampling;
  sampling.temperature = 0;
  return sampling;
}

// Frequencies of 20000 draws with different seeds.
std::vector<double> frequencies(const std::vector<float>& logits, Sampling sampling) {
  std::vector<double> counts(logits.size());
  for (uint64_t seed = 0; seed < 20000; ++seed) {
    sampling.seed = seed;
    counts[choose(logits, sampling).token] += 1.0 / 20000;
  }
  return counts;
}

TEST(Sampler, GreedyTakesTheHighestAndTheLowestIdOfEquals) {
  std::vector<float> logits = random_logits(100, 1);
  logits[40] = logits[17] = 50.0f;
  Sampling greedy;
  greedy.temperature = 0;
  EXPECT_EQ(choose(logits, greedy).token, 17);
}

TEST(Sampler, DrawsFollowTheDistribution) {
  const std::vector<float> logits = random_logits(30, 2);
  Sampling sampling;
  sampling.temperature = 1.5;
  const auto expected = softmax(logits, 1.5), found = frequencies(logits, sampling);
  for (size_t i = 0; i < logits.size(); ++i) EXPECT_NEAR(found[i], expected[i], 0.012) << i;
}

TEST(Sampler, TopKTopPAndMinPCutTheTail) {
  const std::vector<float> logits = random_logits(50, 3);
  const auto p = softmax(logits, 1.0);
  std::vector<int> order(50);
  for (int i = 0; i < 50; ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](int a, int b) { return p[a] > p[b]; });
  const auto drawn = [&](const Sampling& sampling) {
    std::vector<int> seen;
    const auto found = frequencies(logits, sampling);
    for (int rank = 0; rank < 50; ++rank) {
      if (found[order[rank]] > 0) seen.push_back(rank);
    }
    return seen.back();
  };
  Sampling top_k;
  top_k.top_k = 4;
  EXPECT_EQ(drawn(top_k), 3);
  Sampling top_p;
  top_p.top_p = 0.7;
  double sum = 0;
  int last = -1;
  while (sum < 0.7) sum += p[order[++last]];
  EXPECT_EQ(drawn(top_p), last);
  Sampling min_p;
  min_p.min_p = 0.2;
  last = 0;
  while (p[order[last + 1]] >= 0.2 * p[order[0]]) ++last;
  EXPECT_EQ(drawn(min_p), last);
}

// By sorting everything.
int32_t drawn_by_sorting(const std::vector<float>& logits, const Sampling& sampling) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  const double top = logits[static_cast<size_t>(ids[0])], scale = 1.0 / sampling.temperature;
  ids.resize(std::min(ids.size(), static_cast<size_t>(sampling.top_k)));
  std::sort(ids.begin(), ids.end());
  const auto weight = [&](int32_t id) {
    return std::exp((logits[static_cast<size_t>(id)] - top) * scale);
  };
  double total = 0;
  for (const int32_t id : ids) total += weight(id);
  double left = uniform(sampling.seed, 0) * total;
  for (const int32_t id : ids) {
    left -= weight(id);
    if (left < 0) return id;
  }
  return ids.back();
}

TEST(Sampler, TopKIsTheBestByScoreAndThenById) {
  std::vector<float> logits = random_logits(1003, 9);
  for (float& logit : logits) logit = std::round(logit * 2) / 2;  // many equals
  logits[500] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> known = logits;
  known[500] = -std::numeric_limits<float>::infinity();
  for (const int top_k : {1, 2, 7, 50, 1002, 1003, 5000}) {
    for (uint64_t seed = 0; seed < 300; ++seed) {
      Sampling sampling;
      sampling.top_k = top_k;
      sampling.temperature = 3;
      sampling.seed = seed;
      ASSERT_EQ(choose(logits, sampling).token, drawn_by_sorting(known, sampling))
          << top_k << " " << seed;
    }
  }
}

TEST(Sampler, AResultIsAFunctionOfSeedAndPosition) {
  const std::vector<float> logits = random_logits(1000, 4);
  Sampling sampling;
  sampling.seed = 9;
  const std::vector<int32_t> before{1, 2, 3};
  EXPECT_EQ(choose(logits, sampling).token, choose(logits, sampling).token);
  int different = 0;
  for (int i = 0; i < 20; ++i) {
    const std::vector<int32_t> generated(i, 5);
    different += choose(logits, sampling, generated).token != choose(logits, sampling).token;
  }
  EXPECT_GT(different, 15);
}

TEST(Sampler, PenaltiesBiasAndMasks) {
  std::vector<float> logits{1.0f, 4.0f, 3.9f, -1.0f};
  Sampling sampling;
  sampling.temperature = 0;
  const std::vector<int32_t> generated{1, 1};
  sampling.presence_penalty = 0.2;
  EXPECT_EQ(choose(logits, sampling, generated).token, 2);
  sampling = greedy_sampling();
  sampling.frequency_penalty = 0.04;
  EXPECT_EQ(choose(logits, sampling, generated).token, 1);
  sampling.frequency_penalty = 0.06;
  EXPECT_EQ(choose(logits, sampling, generated).token, 2);
  sampling = greedy_sampling();
  sampling.repetition_penalty = 1.1;
  EXPECT_EQ(choose(logits, sampling, generated).token, 2);
  sampling = greedy_sampling();
  sampling.logit_bias = {{3, 10.0f}};
  EXPECT_EQ(choose(logits, sampling).token, 3);
  sampling = greedy_sampling();
  sampling.allowed_token_ids = {0, 3};
  EXPECT_EQ(choose(logits, sampling).token, 0);
}

TEST(Sampler, LogprobsAreTheModelsOwn) {
  const std::vector<float> logits = random_logits(60, 6);
  const auto p = softmax(logits, 1.0);
  Sampling sampling;
  sampling.temperature = 0.3;
  sampling.top_k = 2;
  sampling.logprobs = 5;
  const TokenChoice choice = choose(logits, sampling);
  EXPECT_NEAR(choice.logprob, std::log(p[choice.token]), 1e-5);
  ASSERT_EQ(choice.top.size(), 5u);
  for (size_t i = 1; i < 5; ++i) EXPECT_GE(choice.top[i - 1].second, choice.top[i].second);
}

TEST(Sampler, NoTokenLeftIsAnErrorNotAnAnswer) {
  const std::vector<float> logits(8, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THROW(choose(logits, {}), Error);
}

TEST(Sampler, ParametersOutOfRangeAreNamed) {
  const auto refused = [](auto change, const char* field) {
    Sampling sampling;
    change(sampling);
    try {
      check_sampling(sampling, 100);
      ADD_FAILURE() << field;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_EQ(error.detail().field, field);
    }
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  refused([](Sampling& s) { s.max_tokens = 0; }, "max_tokens");
  refused([](Sampling& s) { s.min_tokens = 99; }, "min_tokens");
  refused([&](Sampling& s) { s.temperature = nan; }, "temperature");
  refused([](Sampling& s) { s.temperature = -1; }, "temperature");
  refused([](Sampling& s) { s.top_p = 0; }, "top_p");
  refused([](Sampling& s) { s.min_p = 1.5; }, "min_p");
  refused([](Sampling& s) { s.top_k = -1; }, "top_k");
  refused([](Sampling& s) { s.repetition_penalty = 0; }, "repetition_penalty");
  refused([](Sampling& s) { s.presence_penalty = 3; }, "presence_penalty");
  refused([](Sampling& s) { s.stop_token_ids = {100}; }, "stop_token_ids");
  refused([](Sampling& s) { s.logit_bias = {{5, 1e9f}}; }, "logit_bias");
}

}  // namespace
}  // namespace penstock
