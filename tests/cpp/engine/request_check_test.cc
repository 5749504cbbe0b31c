// What is refused before any work, and by which name.
#include "engine/request_check.h"

#include <gtest/gtest.h>

#include "engine/live_requests.h"
#include "support/expect_error.h"

namespace penstock {
namespace {

using testing::live_request;
using testing::PlannedModel;

class RequestCheckTest : public ::testing::Test {
 protected:
  RequestCheck check(const KvStore& kv) const {
    return RequestCheck({&planned_.model.config.spec, &planned_.memory, &planned_.policy, &kv,
                         planned_.model.input.accelerator, 100});
  }
  static void refused(const RequestCheck& check, const Request& request, const char* part) {
    expect_error(ErrorCode::invalid_argument, part, [&] { check.check_terms(request); });
  }

  PlannedModel planned_;
};

TEST_F(RequestCheckTest, TokensAreThoseOfTheVocabulary) {
  const KvStore kv = planned_.books(100);
  const RequestCheck check = this->check(kv);
  Request request = live_request(1, 3, 2)->asked;
  check.check_terms(request);
  request.tokens = {0, 499};
  check.check_terms(request);
  request.tokens = {0, 500};
  refused(check, request, "0 to 499");
  request.tokens = {-1};
  refused(check, request, "vocabulary");
  request.tokens = {};
  refused(check, request, "the prompt is empty");
}

TEST_F(RequestCheckTest, PromptAndNewTokensFitTheContextTogether) {
  const KvStore kv = planned_.books(100);
  const RequestCheck check = this->check(kv);
  check.check_terms(live_request(1, 90, 10)->asked);
  refused(check, live_request(1, 90, 11)->asked, "together at most 100");
  Request scored = live_request(1, 100, 10)->asked;
  refused(check, scored, "max_tokens 10");
  scored.score = true;  // generates nothing
  check.check_terms(scored);
  scored.tokens.push_back(1);
  refused(check, scored, "101 prompt tokens");
}

TEST_F(RequestCheckTest, SamplingIsCheckedOnlyWhereTokensAreDrawn) {
  const KvStore kv = planned_.books(100);
  Request request = live_request(1, 3, 2)->asked;
  request.sampling.top_p = 2;
  refused(check(kv), request, "top_p");
  request.score = true;
  check(kv).check_terms(request);
}

TEST_F(RequestCheckTest, ARequestMustFitWhenItIsAlone) {
  const KvStore kv = planned_.books(3);
  check(kv).check_room(*live_request(1, 40, 9));  // 48 tokens are stored: 3 pages
  expect_error(ErrorCode::invalid_argument, "more KV memory than the budget",
               [&] { check(kv).check_room(*live_request(1, 40, 10)); });
}

// Wherever it may be put: the smallest of the memories decides.
TEST_F(RequestCheckTest, EveryTierItMayBeDealtToHasRoom) {
  planned_.use_accelerator();
  planned_.wanted.kv_share = Shares{0.5, 0.5, 0};
  planned_.plan();
  const KvStore kv = planned_.books(4, 2);
  check(kv).check_room(*live_request(1, 30, 3));
  expect_error(ErrorCode::invalid_argument, "the host budget",
               [&] { check(kv).check_room(*live_request(1, 30, 4)); });
  planned_.memory.device_kv_bytes =
      static_cast<uint64_t>(round_up(kv.layout().page_bytes(), kLineBytes));
  expect_error(ErrorCode::invalid_argument, "through device memory",
               [&] { check(kv).check_room(*live_request(1, 17, 3)); });
}

}  // namespace
}  // namespace penstock
