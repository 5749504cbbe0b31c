// Entry, service, putting back and leaving, with a store that keeps books of pages.
#include "engine/request_pool.h"

#include <gtest/gtest.h>

#include "engine/live_requests.h"

namespace penstock {
namespace {

using testing::live_request;
using testing::PlannedModel;

class RequestPoolTest : public ::testing::Test {
 protected:
  RequestPool pool(KvStore& kv) const {
    return RequestPool(planned_.memory, planned_.policy, kv, planned_.model.input.accelerator);
  }
  static std::vector<uint64_t> ids(const std::vector<LiveRequest*>& requests) {
    std::vector<uint64_t> ids;
    for (const LiveRequest* request : requests) ids.push_back(request->id);
    return ids;
  }
  static std::vector<uint64_t> active(const RequestPool& pool) {
    std::vector<uint64_t> ids;
    for (const auto& request : pool.active()) ids.push_back(request->id);
    return ids;
  }
  // As if a sweep had read so much of its prompt.
  static void read(LiveRequest& request, int64_t tokens) {
    request.cached += tokens;
    request.riding = 0;
    if (request.pending() == 0) request.tokens.push_back(3);
  }
  using Ids = std::vector<uint64_t>;

  PlannedModel planned_;  // pages of 16 tokens, 4 sequences
};

TEST_F(RequestPoolTest, EntersInOrderUpToTheSequencesOfThePolicy) {
  KvStore kv = planned_.books(100);
  RequestPool pool = this->pool(kv);
  EXPECT_TRUE(pool.empty());
  for (uint64_t id = 1; id <= 6; ++id) pool.add(live_request(id, 10, 4));
  EXPECT_EQ(pool.waiting(), 6u);
  pool.admit();
  EXPECT_EQ(active(pool), (Ids{1, 2, 3, 4}));
  EXPECT_EQ(pool.waiting(), 2u);
  pool.leave(2);
  pool.admit();
  EXPECT_EQ(active(pool), (Ids{1, 3, 4, 5}));
}

TEST_F(RequestPoolTest, ABlockEntersOnlyWhenTheLastOneHasLeft) {
  planned_.policy.admission = Admission::block;
  planned_.policy.max_sequences = 2;
  KvStore kv = planned_.books(100);
  RequestPool pool = this->pool(kv);
  for (uint64_t id = 1; id <= 3; ++id) pool.add(live_request(id, 10, 4));
  pool.admit();
  EXPECT_EQ(active(pool), (Ids{1, 2}));
  pool.leave(1);
  pool.admit();
  EXPECT_EQ(active(pool), Ids{2});
  pool.leave(2);
  pool.admit();
  EXPECT_EQ(active(pool), Ids{3});
}

TEST_F(RequestPoolTest, APaceLetsPromptsEnterSteadily) {
  planned_.policy.pace = 15;
  KvStore kv = planned_.books(100);
  RequestPool pool = this->pool(kv);
  for (uint64_t id = 1; id <= 4; ++id) pool.add(live_request(id, 10, 4));
  pool.admit();  // 15 tokens: 10, and as long as something is left another 10
  EXPECT_EQ(active(pool), (Ids{1, 2}));
  pool.admit();  // 10 of the 15 are left
  EXPECT_EQ(active(pool), (Ids{1, 2, 3}));
  pool.admit();
  EXPECT_EQ(active(pool), (Ids{1, 2, 3, 4}));
}

TEST_F(RequestPoolTest, DecodingComesBeforePrompts) {
  KvStore kv = planned_.books(100);
  RequestPool pool = this->pool(kv);
  for (uint64_t id = 1; id <= 3; ++id) pool.add(live_request(id, 10, 4));
  pool.admit();
  read(**std::next(pool.active().begin()), 10);
  EXPECT_EQ(ids(pool.in_service(0)), (Ids{2, 1, 3}));
  EXPECT_TRUE(pool.in_service(1).empty());
}

TEST_F(RequestPoolTest, CohortsAreFilledEvenly) {
  planned_.policy.device_layers = {1, 1};
  KvStore kv = planned_.books(100);
  RequestPool pool = this->pool(kv);
  for (uint64_t id = 1; id <= 4; ++id) pool.add(live_request(id, 10, 4));
  pool.admit();
  EXPECT_EQ(ids(pool.in_service(0)), (Ids{1, 3}));
  EXPECT_EQ(ids(pool.in_service(1)), (Ids{2, 4}));
}

// Admitted by a projection that was wrong: the youngest gives its pages back and waits again.
TEST_F(RequestPoolTest, TheYoungestIsPutBackWhenPagesRunOut) {
  KvStore kv = planned_.books(3);
  RequestPool pool = this->pool(kv);
  pool.add(live_request(1, 15, 3));
  pool.add(live_request(2, 15, 1));
  planned_.policy.prefill_chunk = 1000;
  pool.admit();
  ASSERT_EQ(active(pool), (Ids{1, 2}));
  KvSequence thief;  // takes what the projection had counted on
  ASSERT_TRUE(kv.open(thief, {}, 16, {}) && kv.grow(thief, 16));
  std::vector<LiveRequest*> requests = pool.in_service(0);
  ASSERT_TRUE(pool.reserve_pages(&requests, false));
  for (LiveRequest* request : requests) {
    read(*request, 15);
    request->tokens.push_back(3);  // 17 tokens: a second page
    ++request->cached;
  }
  requests = pool.in_service(0);
  EXPECT_FALSE(pool.reserve_pages(&requests, true)) << "a sweep in flight may need its pages";
  EXPECT_EQ(active(pool), (Ids{1, 2}));
  requests = pool.in_service(0);
  EXPECT_TRUE(pool.reserve_pages(&requests, false));
  EXPECT_EQ(ids(requests), Ids{1});
  EXPECT_EQ(active(pool), Ids{1});
  EXPECT_EQ(pool.waiting(), 1u);
  EXPECT_EQ(kv.free().here, 0);
  pool.leave(1);
  pool.admit();
  ASSERT_EQ(active(pool), Ids{2});
  EXPECT_EQ(pool.active().front()->cached, 0) << "it is read again";
  EXPECT_EQ(pool.active().front()->tokens.size(), 17u) << "what it generated stays";
}

TEST_F(RequestPoolTest, EqualBeginningsAreSharedAndSettled) {
  KvStore kv = planned_.books(100);
  RequestPool pool = this->pool(kv);
  for (const uint64_t id : {1, 2}) {
    auto request = live_request(id, 40, 4);
    request->tokens.front() = 7;
    pool.add(std::move(request));
  }
  pool.admit();
  ASSERT_EQ(active(pool), (Ids{1, 2}));
  EXPECT_EQ(pool.shared_tokens(), 32u);  // two full pages
  LiveRequest& donor = *pool.active().front();
  const LiveRequest& other = *pool.active().back();
  EXPECT_EQ(other.donor, &donor);
  EXPECT_EQ(other.prefix_group, 1u);
  EXPECT_EQ(other.cached, 32);
  donor.cached = 31;
  pool.settle_prefixes();
  EXPECT_EQ(other.donor, &donor);
  donor.cached = 32;
  pool.settle_prefixes();
  EXPECT_EQ(other.donor, nullptr);
}

TEST_F(RequestPoolTest, WithoutItsDonorARequestBeginsAgain) {
  KvStore kv = planned_.books(100);
  RequestPool pool = this->pool(kv);
  for (const uint64_t id : {1, 2, 3}) {
    auto request = live_request(id, 40, 4);
    request->tokens.front() = id == 3 ? 9 : 7;
    pool.add(std::move(request));
  }
  pool.admit();
  ASSERT_EQ(active(pool), (Ids{1, 2, 3}));
  pool.cancel(1);
  EXPECT_EQ(active(pool), Ids{3});
  EXPECT_EQ(pool.waiting(), 1u);
  pool.admit();
  EXPECT_EQ(active(pool), (Ids{3, 2}));
  EXPECT_EQ(pool.active().back()->cached, 0);
}

TEST_F(RequestPoolTest, WhoRidesLeavesWithItsSweep) {
  KvStore kv = planned_.books(100);
  RequestPool pool = this->pool(kv);
  for (uint64_t id = 1; id <= 5; ++id) pool.add(live_request(id, 10, 4));
  pool.admit();
  pool.active().front()->riding = 10;
  pool.cancel(1);
  EXPECT_TRUE(pool.active().front()->cancelled);
  pool.cancel(2);
  pool.cancel(5);
  pool.cancel(77);
  EXPECT_EQ(active(pool), (Ids{1, 3, 4}));
  EXPECT_EQ(pool.waiting(), 0u);
  pool.remove(1);
  EXPECT_EQ(active(pool), (Ids{3, 4}));
}

TEST_F(RequestPoolTest, TheLastSweepIsKnownBeforeItRuns) {
  KvStore kv = planned_.books(100);
  RequestPool pool = this->pool(kv);
  pool.add(live_request(1, 10, 1));
  EXPECT_FALSE(pool.ends_with_sweeps_in_flight()) << "it waits";
  pool.admit();
  LiveRequest& request = *pool.active().front();
  request.riding = 9;
  EXPECT_FALSE(pool.ends_with_sweeps_in_flight()) << "a token of the prompt is left";
  request.riding = 10;
  EXPECT_TRUE(pool.ends_with_sweeps_in_flight());
  request.asked.sampling.max_tokens = 2;
  EXPECT_FALSE(pool.ends_with_sweeps_in_flight()) << "another token may follow";
}

TEST_F(RequestPoolTest, LogitsAreTakenOnceTheirRequestHasFinished) {
  KvStore kv = planned_.books(100);
  RequestPool pool = this->pool(kv);
  pool.add(live_request(1, 10, 1));
  pool.admit();
  LiveRequest& request = *pool.active().front();
  request.asked.all_logits = true;
  request.logits = {1, 2};
  pool.leave(1);
  EXPECT_EQ(kv.free().here, kv.capacity().here);
  EXPECT_EQ(pool.take_logits(), (std::vector<float>{1, 2}));
  EXPECT_TRUE(pool.empty());
}

}  // namespace
}  // namespace penstock
