// Who may enter: projected pages against the space there is, with a walk from sweep to sweep.
#include "engine/admission.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine/live_requests.h"

namespace penstock {
namespace {

using testing::decoding_request;
using testing::live_request;
using testing::PlannedModel;
using Requests = std::vector<std::unique_ptr<LiveRequest>>;

std::vector<const LiveRequest*> pointers(const Requests& requests) {
  std::vector<const LiveRequest*> all;
  for (const auto& request : requests) all.push_back(request.get());
  return all;
}

class AdmissionTest : public ::testing::Test {
 protected:
  AdmissionTest() {
    planned_.policy.max_sequences = 100;
    planned_.policy.prefill_chunk = 20;
  }
  // Beside these, in so many pages of a layer.
  bool admits(int64_t pages, const Requests& active, const LiveRequest& candidate) const {
    const KvStore kv = planned_.books(pages);
    return AdmissionRule(kv, planned_.policy).admits(pointers(active), candidate);
  }

  PlannedModel planned_;
};

TEST_F(AdmissionTest, ABlockIsCountedAtItsFinalLengths) {
  planned_.policy.admission = Admission::block;
  Requests active;
  active.push_back(live_request(1, 30, 3));        // 32 tokens are stored at the end: 2 pages
  const auto candidate = live_request(2, 30, 19);  // 48: 3 pages
  EXPECT_TRUE(admits(5, active, *candidate));
  EXPECT_FALSE(admits(4, active, *candidate));
  candidate->asked.sampling.max_tokens = 20;  // one token more, one page more
  EXPECT_FALSE(admits(5, active, *candidate));
  EXPECT_TRUE(admits(6, active, *candidate));
}

TEST_F(AdmissionTest, NoMoreThanTheSequencesOfThePolicy) {
  Requests active;
  active.push_back(live_request(1, 5, 2));
  active.push_back(live_request(2, 5, 2));
  const auto candidate = live_request(3, 5, 2);
  planned_.policy.max_sequences = 3;
  EXPECT_TRUE(admits(1000, active, *candidate));
  planned_.policy.max_sequences = 2;
  EXPECT_FALSE(admits(1000, active, *candidate));
}

// One that is about to leave makes room for the growth of one that enters.
TEST_F(AdmissionTest, WhoLeavesEarlierMakesRoom) {
  Requests active;
  active.push_back(decoding_request(1, 30, 3));    // two more tokens, 2 pages
  const auto candidate = live_request(2, 14, 19);  // 1 page, later 2
  EXPECT_TRUE(admits(3, active, *candidate));
  planned_.policy.admission = Admission::block;
  EXPECT_FALSE(admits(3, active, *candidate));
  planned_.policy.admission = Admission::continuous;
  active.front()->asked.sampling.max_tokens = 16;  // stays, and grows too
  EXPECT_FALSE(admits(3, active, *candidate));
}

// The most pages that all hold at once, when each reads its prompt in chunks and then generates one
// token in every sweep. Before a request leaves, the sum is at its largest.
int64_t most_pages(const Requests& requests, const LiveRequest& candidate, int chunk) {
  struct Walker {
    int64_t tokens, unread, left, final_cached;
  };
  std::vector<Walker> walkers;
  const auto add = [&](const LiveRequest& one) {
    walkers.push_back({static_cast<int64_t>(one.tokens.size()), one.pending(),
                       one.final_length() - static_cast<int64_t>(one.tokens.size()),
                       one.final_cached()});
  };
  for (const auto& request : requests) add(*request);
  add(candidate);
  int64_t most = 0;
  while (!walkers.empty()) {
    int64_t sum = 0;
    for (const Walker& walker : walkers) {
      sum += (std::min(walker.tokens, walker.final_cached) + 15) / 16;
    }
    most = std::max(most, sum);
    for (Walker& walker : walkers) {
      if (walker.unread > chunk) {
        walker.unread -= chunk;
      } else {
        walker.unread = 1;
        ++walker.tokens;
        --walker.left;
      }
    }
    std::erase_if(walkers, [](const Walker& walker) { return walker.left <= 0; });
  }
  return most;
}

TEST_F(AdmissionTest, AgreesWithAWalkFromSweepToSweep) {
  std::mt19937 random(4);
  const auto between = [&](int low, int high) {
    return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
  };
  for (int round = 0; round < 200; ++round) {
    Requests active;
    for (int i = between(0, 6); i > 0; --i) {
      const bool decodes = between(0, 1) == 1;
      const int prompt = between(1, 90), fresh = between(2, 40);
      active.push_back(decodes ? decoding_request(i, prompt, fresh)
                               : live_request(i, prompt, fresh));
    }
    const auto candidate = live_request(99, between(1, 90), between(1, 40));
    const int64_t most = most_pages(active, *candidate, planned_.policy.prefill_chunk);
    EXPECT_TRUE(admits(most, active, *candidate)) << round;
    if (most == 1) continue;  // there is no smaller store
    EXPECT_FALSE(admits(most - 1, active, *candidate)) << round;
  }
}

TEST_F(AdmissionTest, SharedPagesCountOnce) {
  Requests active;
  active.push_back(live_request(1, 64, 2));  // 5 pages at the end: 65 tokens
  active.back()->asked.sampling.max_tokens = 2;
  const auto candidate = live_request(2, 64, 2);
  EXPECT_TRUE(admits(10, active, *candidate));
  EXPECT_FALSE(admits(9, active, *candidate));
  candidate->shared_tokens = candidate->cached = 48;
  candidate->prefix_group = 1;
  // It has read its prompt, and leaves, before the other one: 4 pages of that, and 2 of its own.
  EXPECT_TRUE(admits(6, active, *candidate));
  EXPECT_FALSE(admits(5, active, *candidate));
}

// When the request that they come from has left, the pages are still held by those that share them,
// once.
TEST_F(AdmissionTest, SharedPagesOutliveTheirOrigin) {
  Requests active;
  for (const uint64_t id : {2, 3}) {
    active.push_back(live_request(id, 64, 2));
    active.back()->shared_tokens = active.back()->cached = 48;
    active.back()->prefix_group = 1;
  }
  const auto candidate = live_request(4, 16, 3);  // 2 pages when the others are at their ends
  EXPECT_TRUE(admits(3 + 2 * 2 + 2, active, *candidate));
  EXPECT_FALSE(admits(3 + 2 * 2 + 1, active, *candidate));
}

TEST_F(AdmissionTest, EveryMemoryMustHaveRoom) {
  planned_.use_accelerator();
  planned_.plan();
  planned_.policy.max_sequences = 100;
  const KvStore kv = planned_.books(4, 2);
  const AdmissionRule rule(kv, planned_.policy);
  const auto candidate = live_request(1, 60, 5);  // 4 pages
  EXPECT_TRUE(rule.admits({}, *candidate));
  candidate->home = {Tier::host, 2};
  EXPECT_TRUE(rule.admits({}, *candidate));
  candidate->home = {Tier::host, 3};
  EXPECT_FALSE(rule.admits({}, *candidate));
}

}  // namespace
}  // namespace penstock
