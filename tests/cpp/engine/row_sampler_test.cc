#include "engine/row_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"

namespace penstock {
namespace {

constexpr int kVocab = 9000;  // so that many rows are worth a second thread

struct Rows {
  std::vector<std::vector<float>> logits;
  std::vector<Sampling> samplings;
  std::vector<RowLogits> all;

  explicit Rows(int count) : samplings(static_cast<size_t>(count)) {
    std::mt19937_64 generator(3);
    std::normal_distribution<float> normal(0.0f, 2.0f);
    for (int i = 0; i < count; ++i) {
      std::vector<float>& row = logits.emplace_back(kVocab);
      for (float& logit : row) logit = normal(generator);
      Sampling& sampling = samplings[static_cast<size_t>(i)];
      sampling.temperature = i % 3 == 0 ? 0.0 : 0.9;
      sampling.top_k = i % 2 == 0 ? 40 : 0;
      sampling.seed = static_cast<uint64_t>(i);
      sampling.logprobs = i % 5 == 0 ? 2 : -1;
    }
    for (int i = 0; i < count; ++i) {
      RowLogits one;
      one.logits = logits[static_cast<size_t>(i)].data();
      one.input.sampling = &samplings[static_cast<size_t>(i)];
      all.push_back(one);
    }
  }
};

TEST(RowSampler, ChoosesAsOneRowAfterAnother) {
  for (const int count : {1, 3, 40}) {
    const Rows rows(count);
    RowSampler many(kVocab, 3);
    const std::vector<TokenChoice> choices = many.choose(rows.all);
    ASSERT_EQ(choices.size(), rows.all.size());
    for (size_t i = 0; i < choices.size(); ++i) {
      Sampler one(kVocab);
      const TokenChoice expected = one.choose(rows.all[i].logits, rows.all[i].input);
      EXPECT_EQ(choices[i].token, expected.token) << i;
      EXPECT_EQ(choices[i].logprob, expected.logprob) << i;
    }
  }
}

TEST(RowSampler, TakesAnyTokenWhereNothingWasComputed) {
  RowSampler sampler(kVocab, 2);
  EXPECT_EQ(sampler.choose(std::vector<RowLogits>(50)).at(49).token, 0);
}

TEST(RowSampler, RefusesLogitsThatAreNoNumbers) {
  Rows rows(40);
  rows.logits[21].assign(kVocab, NAN);
  RowSampler sampler(kVocab, 2);
  try {
    sampler.choose(rows.all);
    FAIL() << "a row of NaN was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
  }
  rows.logits[21].assign(kVocab, 1.0f);
  EXPECT_EQ(sampler.choose(rows.all).size(), 40u);  // the threads are there for the next rows
}

}  // namespace
}  // namespace penstock
