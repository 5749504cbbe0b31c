// Micro-batches of a sweep: who rides, how much of a prompt, what is wanted of it, and the limits
// of the plan.
#include "engine/sweep_planner.h"

#include <gtest/gtest.h>

#include <random>

#include "engine/live_requests.h"

namespace penstock {
namespace {

using testing::decoding_request;
using testing::live_request;
using testing::PlannedModel;

class SweepPlannerTest : public ::testing::Test {
 protected:
  LiveRequest& add(std::unique_ptr<LiveRequest> request) {
    requests_.push_back(std::move(request));
    order_.push_back(requests_.back().get());
    return *requests_.back();
  }
  SweepPlan plan() {
    const SweepShaper shaper(planned_.shaper_parts());
    return SweepPlanner(planned_.memory, planned_.policy, shaper).plan(order_);
  }
  // Tokens of each span, micro-batch after micro-batch.
  static std::vector<std::vector<int>> counts(const SweepPlan& sweep) {
    std::vector<std::vector<int>> all;
    for (const BatchPlan& batch : sweep.batches) {
      all.emplace_back();
      for (const SpanPlan& span : batch.spans) all.back().push_back(span.count());
    }
    return all;
  }
  using Counts = std::vector<std::vector<int>>;

  PlannedModel planned_;  // 2 micro-batches of at most 4 sequences and 32 tokens, chunks of 20
  std::vector<std::unique_ptr<LiveRequest>> requests_;
  std::vector<LiveRequest*> order_;
};

TEST_F(SweepPlannerTest, NoRequestsNoMicroBatches) {
  const SweepPlan sweep = plan();
  EXPECT_TRUE(sweep.batches.empty());
  EXPECT_EQ(sweep.logits_rows, 0);
}

TEST_F(SweepPlannerTest, DecodingRequestsGiveOneTokenEach) {
  for (int i = 0; i < 6; ++i) add(decoding_request(i + 1, 5 + i, 4));
  planned_.memory.logit_rows = 6;
  const SweepPlan sweep = plan();
  EXPECT_EQ(counts(sweep), (Counts{{1, 1, 1, 1}, {1, 1}}));
  for (int i = 0; i < 6; ++i) {
    const SpanPlan& span = sweep.batches[i / 4].spans[i % 4];
    EXPECT_EQ(span.kv, &requests_[i]->kv);
    EXPECT_EQ(span.position, 5 + i);
    EXPECT_EQ(span.tokens, std::vector<int32_t>{3});
    EXPECT_EQ(span.want, Want::token);
    EXPECT_EQ(requests_[i]->riding, 1);
  }
  EXPECT_EQ(sweep.logits_rows, 6);
  planned_.memory.logit_rows = 5;
  EXPECT_EQ(counts(plan()), (Counts{{1, 1, 1, 1}, {1}}));
}

TEST_F(SweepPlannerTest, PromptsAreReadInChunksAndOnlyTheLastOneGivesAToken) {
  LiveRequest& prompt = add(live_request(1, 50, 4));
  for (const int position : {0, 20, 40}) {
    const SweepPlan sweep = plan();
    const int count = position == 40 ? 10 : 20;
    ASSERT_EQ(counts(sweep), (Counts{{count}}));
    const SpanPlan& span = sweep.batches[0].spans[0];
    EXPECT_EQ(span.position, position);
    EXPECT_EQ(span.want, position == 40 ? Want::token : Want::nothing);
    EXPECT_EQ(sweep.logits_rows, position == 40 ? 1 : 0);
    EXPECT_EQ(prompt.riding, count);
    prompt.cached += prompt.riding;
  }
}

TEST_F(SweepPlannerTest, APromptTakesWhatIsLeftOfTheMicroBatchIfThatIsAQuarter) {
  add(live_request(1, 20, 4));
  add(live_request(2, 20, 4));  // 12 of 32 are left
  EXPECT_EQ(counts(plan()), (Counts{{20, 12}}));
  planned_.policy.prefill_chunk = 26;
  requests_[0] = live_request(1, 26, 4);
  order_[0] = requests_[0].get();  // 6 are left: too few to begin with
  EXPECT_EQ(counts(plan()), (Counts{{26}, {20}}));
}

TEST_F(SweepPlannerTest, WhoDoesNotFitRidesInTheNextSweep) {
  for (int i = 0; i < 3; ++i) add(live_request(i + 1, 20, 4));
  for (int i = 0; i < 2; ++i) add(decoding_request(i + 4, 20, 4));
  planned_.policy.micro_batches = 1;
  const SweepPlan sweep = plan();
  EXPECT_EQ(counts(sweep), (Counts{{20, 12}}));
  EXPECT_EQ(requests_[2]->riding, 0);
  EXPECT_EQ(requests_[3]->riding, 0);
}

TEST_F(SweepPlannerTest, WithoutRoomForLogitsTheLastTokenWaits) {
  planned_.memory.logit_rows = 1;
  add(live_request(1, 10, 4));
  add(live_request(2, 10, 4));
  add(decoding_request(3, 10, 4));
  const SweepPlan sweep = plan();
  EXPECT_EQ(counts(sweep), (Counts{{10, 9}}));
  EXPECT_EQ(sweep.batches[0].spans[1].want, Want::nothing);
  EXPECT_EQ(requests_[2]->riding, 0) << "its only token wants logits";
}

TEST_F(SweepPlannerTest, WhatIsWantedFollowsFromTheRequest) {
  add(live_request(1, 5, 4));
  add(live_request(2, 5, 4)).asked.sampling.logprobs = 0;  // its logits come to the host
  LiveRequest& scored = add(live_request(3, 5, 4));
  scored.asked.score = true;
  const SweepPlan sweep = plan();
  ASSERT_EQ(counts(sweep), (Counts{{5, 5, 5}}));
  const std::vector<SpanPlan>& spans = sweep.batches[0].spans;
  EXPECT_EQ(spans[0].want, Want::token);
  EXPECT_EQ(spans[1].want, Want::last);
  EXPECT_EQ(spans[2].want, Want::nothing);
  EXPECT_EQ(spans[2].targets, (std::vector<int32_t>{7, 7, 7, 7})) << "the token after each";
  EXPECT_EQ(sweep.logits_rows, 2);
  EXPECT_EQ(sweep.chosen_rows, 1);
  EXPECT_EQ(sweep.score_rows, 4);
  EXPECT_EQ(sweep.head_rows, 6);
}

TEST_F(SweepPlannerTest, LogitsOfEveryPositionAreBoundedByTheirBuffer) {
  planned_.memory.logit_rows = 3;
  add(live_request(1, 10, 4)).asked.all_logits = true;
  const SweepPlan sweep = plan();
  EXPECT_EQ(counts(sweep), (Counts{{3}}));
  EXPECT_EQ(sweep.batches[0].spans[0].want, Want::all);
  EXPECT_EQ(sweep.logits_rows, 3);
}

TEST_F(SweepPlannerTest, WhoWaitsForSharedPagesDoesNotRide) {
  LiveRequest& donor = add(live_request(1, 40, 4));
  LiveRequest& other = add(live_request(2, 40, 4));
  other.donor = &donor;
  other.shared_tokens = other.cached = 32;
  plan();
  EXPECT_EQ(donor.riding, 20);
  EXPECT_EQ(other.riding, 0);
  donor.cached = 20;
  plan();  // the other 20 come before its turn
  EXPECT_EQ(donor.riding, 20);
  EXPECT_EQ(other.riding, 8);
}

TEST_F(SweepPlannerTest, HiddenRowsFillMemoryThenHostThenDisk) {
  planned_.policy.micro_batches = 4;
  planned_.memory.sweep_tokens = 128;
  planned_.memory.hidden_tokens = 32;
  planned_.memory.hidden_host_tokens = 32;
  planned_.memory.hidden_disk_tokens = 64;
  planned_.policy.micro_batch = 1;
  for (int i = 0; i < 4; ++i) add(live_request(i + 1, 20, 4));
  const SweepPlan sweep = plan();
  ASSERT_EQ(sweep.batches.size(), 4u);
  EXPECT_EQ(sweep.batches[0].hidden, HiddenHome::here);
  EXPECT_EQ(sweep.batches[1].hidden, HiddenHome::host);
  EXPECT_EQ(sweep.batches[2].hidden, HiddenHome::disk);
  EXPECT_EQ(sweep.batches[3].hidden, HiddenHome::disk);
  EXPECT_EQ(sweep.batches[3].activation_unit, 1);
}

// Random requests: no limit is exceeded, sums are those of the spans, rows in memory do not
// overlap.
TEST_F(SweepPlannerTest, LimitsHoldForAnyRequests) {
  std::mt19937 random(8);
  const auto pick = [&](int count) { return static_cast<int>(random() % count); };
  for (int round = 0; round < 300; ++round) {
    requests_.clear();
    order_.clear();
    for (int i = 0; i < 1 + pick(10); ++i) {
      LiveRequest& request = add(pick(2) == 0 ? live_request(i + 1, 1 + pick(60), 1 + pick(6))
                                              : decoding_request(i + 1, 1 + pick(60), 2));
      if (pick(4) == 0) request.asked.prompt_logprobs = request.cached == 0;
      if (pick(3) == 0) request.asked.sampling.logprobs = 1;
    }
    const SweepPlan sweep = plan();
    int64_t tokens = 0, logits = 0, end = 0;
    size_t spans = 0, riders = 0;
    ASSERT_LE(sweep.batches.size(), 2u);
    for (const BatchPlan& batch : sweep.batches) {
      ASSERT_FALSE(batch.spans.empty());
      ASSERT_LE(batch.spans.size(), 4u);
      ASSERT_LE(batch.tokens, 32);
      ASSERT_GE(batch.first_token, end);
      end = batch.first_token + batch.tokens;
      int64_t sum = 0;
      for (const SpanPlan& span : batch.spans) {
        sum += span.count();
        logits += span.logits_rows();
        ASSERT_LE(span.count(), 20);
      }
      ASSERT_EQ(sum, batch.tokens);
      tokens += sum;
      spans += batch.spans.size();
    }
    for (const auto& request : requests_) {
      riders += request->riding > 0;
      tokens -= request->riding;
      ASSERT_LE(request->riding, request->pending());
    }
    ASSERT_EQ(tokens, 0);
    ASSERT_EQ(spans, riders);
    ASSERT_GT(riders, 0u);
    ASSERT_EQ(logits, sweep.logits_rows);
    ASSERT_LE(end, planned_.memory.hidden_tokens);
    ASSERT_LE(sweep.logits_rows, planned_.memory.logit_rows);
    ASSERT_LE(sweep.head_rows, planned_.memory.head_rows);
  }
}

}  // namespace
}  // namespace penstock
