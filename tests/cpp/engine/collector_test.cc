// From the results of a sweep to events: tokens, ends, scores, logits, and requests that were
// cancelled meanwhile.
#include "engine/collector.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "engine/live_requests.h"
#include "engine/scripted_runner.h"

namespace penstock {
namespace {

using testing::decoding_request;
using testing::live_request;
using testing::PlannedModel;
using testing::ScriptedRunner;

class CollectorTest : public ::testing::Test {
 protected:
  CollectorTest() {
    planned_.model.config.spec.eos = {2};
    planned_.memory.logit_rows = 8;
  }
  LiveRequest& add(std::unique_ptr<LiveRequest> request) {
    requests_.push_back(std::move(request));
    return *requests_.back();
  }
  // Of a sweep for all requests.
  Collector::Collected collect() {
    const SweepsInFlight sweeps({&runner_, &planned_.program(), planned_.shaper_parts()});
    std::vector<LiveRequest*> all;
    for (const auto& request : requests_) all.push_back(request.get());
    const ServedSweep sweep = sweeps.plan(0, all);
    Collector collector(runner_, planned_.model.config.spec, 1);
    return collector.collect(sweep);
  }
  // That a greedy request draws `token` from.
  static std::vector<float> logits_for(int token) {
    std::vector<float> logits(500, 0.0f);
    logits[static_cast<size_t>(token)] = 5.0f;
    return logits;
  }

  PlannedModel planned_;
  ScriptedRunner runner_;
  std::vector<std::unique_ptr<LiveRequest>> requests_;
};

TEST_F(CollectorTest, TokensGoToTheRequestsThatRode) {
  LiveRequest& first = add(decoding_request(11, 5, 9));
  LiveRequest& second = add(live_request(12, 6, 9));
  LiveRequest& third = add(live_request(13, 30, 9));  // only a chunk of 20 is read
  runner_.row_tokens = {{0, 40}, {1, 41}};
  const auto found = collect();
  ASSERT_EQ(found.events.size(), 2u);
  EXPECT_EQ(found.events[0].request, 11u);
  EXPECT_EQ(found.events[0].tokens.at(0).token, 40);
  EXPECT_EQ(found.events[1].request, 12u);
  EXPECT_EQ(found.events[1].tokens.at(0).token, 41);
  EXPECT_EQ(found.generated_tokens, 2u);
  EXPECT_EQ(found.prompt_tokens, 6u + 20u) << "a generated token that is read is none";
  EXPECT_EQ(first.cached, 6);
  EXPECT_EQ(first.kv.length, 6);
  EXPECT_EQ(first.tokens.back(), 40);
  EXPECT_EQ(second.pending(), 1);
  EXPECT_EQ(third.cached, 20);
  EXPECT_EQ(third.generated(), 0);
  for (const auto& request : requests_) EXPECT_EQ(request->riding, 0);
  EXPECT_TRUE(found.finished.empty());
}

// Both kinds of choice in one sweep: by the device, and from logits on the host.
TEST_F(CollectorTest, LogitsAreReadWhereTheDeviceHasNotChosen) {
  add(decoding_request(1, 5, 9)).asked.sampling.logprobs = 1;
  add(decoding_request(2, 5, 9));
  add(decoding_request(3, 5, 9)).asked.sampling.logprobs = 0;
  runner_.row_logits = {{0, logits_for(100)}, {2, logits_for(300)}};
  runner_.row_tokens = {{1, 200}};
  const auto found = collect();
  ASSERT_EQ(found.events.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(found.events[i].tokens.at(0).token, 100 * (i + 1));
  const double sum = std::exp(5.0) + 499;
  EXPECT_NEAR(found.events[0].tokens[0].logprob, 5 - std::log(sum), 1e-5);
  ASSERT_EQ(found.events[0].tokens[0].top.size(), 1u);
  EXPECT_EQ(found.events[0].tokens[0].top[0].first, 100);
}

TEST_F(CollectorTest, EndsAreTheLengthAStopTokenOrTheEndOfText) {
  add(decoding_request(1, 5, 2));  // this is its second token
  add(decoding_request(2, 5, 9)).asked.sampling.stop_token_ids = {41};
  add(decoding_request(3, 5, 9)).asked.sampling.ignore_eos = false;
  add(decoding_request(4, 5, 9));  // heeds no end of text
  runner_.row_tokens = {{0, 40}, {1, 41}, {2, 2}, {3, 2}};
  const auto found = collect();
  ASSERT_EQ(found.events.size(), 4u);
  EXPECT_EQ(found.events[0].finish_reason, "length");
  EXPECT_EQ(found.events[1].finish_reason, "stop");
  EXPECT_EQ(found.events[2].finish_reason, "stop");
  EXPECT_FALSE(found.events[3].finished);
  EXPECT_EQ(found.finished, (std::vector<uint64_t>{1, 2, 3}));
}

TEST_F(CollectorTest, ScoresOfAPromptComeTogetherWhenItHasBeenRead) {
  LiveRequest& scored = add(live_request(1, 30, 4));
  scored.asked.score = true;
  const auto state = [](float target) { return ScoreState{1.0f, 2.0f, target, 0, 1.0f}; };
  for (int i = 0; i < 20; ++i) runner_.scores[i] = state(static_cast<float>(i));
  auto found = collect();
  EXPECT_TRUE(found.events.empty()) << "10 tokens are left";
  EXPECT_EQ(scored.prompt_logprobs.size(), 21u);
  found = collect();
  ASSERT_EQ(found.events.size(), 1u);
  EXPECT_EQ(found.events[0].finish_reason, "score");
  const std::vector<float>& values = found.events[0].prompt_logprobs;
  ASSERT_EQ(values.size(), 30u) << "one for each token";
  EXPECT_EQ(values[0], 0.0f);
  EXPECT_EQ(values[1], 0.0f - (1.0f + std::log(2.0f)));
  EXPECT_EQ(values[20], 19.0f - (1.0f + std::log(2.0f)));
  EXPECT_EQ(values[21], 0.0f - (1.0f + std::log(2.0f))) << "the first score of the second sweep";
  EXPECT_EQ(found.finished, std::vector<uint64_t>{1});
}

TEST_F(CollectorTest, LogitsOfAllPositionsAreKept) {
  LiveRequest& request = add(live_request(1, 3, 1));
  request.asked.all_logits = true;
  for (int row = 0; row < 3; ++row) runner_.row_logits[row] = {};
  runner_.row_logits[0].resize(3 * 500, 0.25f);  // rows lie behind each other
  const auto found = collect();
  ASSERT_EQ(found.events.size(), 1u);
  EXPECT_TRUE(found.events[0].finished);
  EXPECT_TRUE(found.events[0].tokens.empty());
  EXPECT_EQ(request.logits, std::vector<float>(1500, 0.25f));
}

TEST_F(CollectorTest, NothingIsSaidOfWhoWasCancelled) {
  add(decoding_request(1, 5, 9)).cancelled = true;
  add(decoding_request(2, 5, 9));
  add(decoding_request(3, 5, 2)).cancelled = true;  // and has finished
  runner_.row_tokens = {{0, 40}, {1, 41}, {2, 42}};
  const auto found = collect();
  ASSERT_EQ(found.events.size(), 1u);
  EXPECT_EQ(found.events[0].request, 2u);
  EXPECT_EQ(found.cancelled, std::vector<uint64_t>{1});
  EXPECT_EQ(found.finished, std::vector<uint64_t>{3});
}

// A dry run computes nothing: any token will do.
TEST_F(CollectorTest, WithoutLogitsAnyTokenWillDo) {
  add(decoding_request(1, 5, 9)).asked.sampling.logprobs = 1;
  const auto found = collect();
  ASSERT_EQ(found.events.size(), 1u);
  EXPECT_EQ(found.events[0].tokens.at(0).token, 0);
}

TEST_F(CollectorTest, AModelWithoutANumberIsAnError) {
  add(decoding_request(1, 5, 9));
  runner_.row_tokens = {{0, -1}};
  EXPECT_THROW(collect(), Error);
}

}  // namespace
}  // namespace penstock
