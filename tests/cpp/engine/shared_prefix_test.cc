// Rows that begin alike share pages: the same bits with and without, fewer tokens computed.
#include "engine/shared_prefix.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <optional>
#include <random>

#include "penstock/engine.h"
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
using testing::tiny_llama_config;
using testing::tiny_opt_config;
using testing::TinyEngine;

std::unique_ptr<LiveRequest> row_of(std::vector<int32_t> tokens, int64_t prompt) {
  auto row = std::make_unique<LiveRequest>();
  row->tokens = std::move(tokens);
  row->prompt_tokens = prompt;
  return row;
}

TEST(FindPrefix, TakesFullPagesAndLeavesATokenToRead) {
  std::list<std::unique_ptr<LiveRequest>> active;
  active.push_back(row_of({1, 2, 3, 4, 9}, 5));
  active.push_back(row_of({1, 2, 3, 4, 5, 6, 7, 8}, 8));
  const auto pages = [&](std::vector<int32_t> tokens) {
    const auto length = static_cast<int64_t>(tokens.size());
    return find_prefix(active, *row_of(std::move(tokens), length), 2).pages;
  };
  EXPECT_EQ(pages({1, 2, 3, 4, 5, 6, 7, 8, 9}), 4);
  EXPECT_EQ(pages({1, 2, 3, 4, 5, 6, 7, 8}), 3);  // the last token is its own
  EXPECT_EQ(pages({1, 2, 3, 4, 5, 0, 7, 8}), 2);
  EXPECT_EQ(pages({1, 2, 3}), 1);
  EXPECT_EQ(pages({1, 2}), 0);
  EXPECT_EQ(pages({1, 0, 3, 4}), 0);
  EXPECT_EQ(find_prefix(active, *row_of({1, 2, 3, 4, 7}, 5), 2).donor, active.front().get());
}

TEST(FindPrefix, GeneratedTokensCountOnceTheyAreStored) {
  std::list<std::unique_ptr<LiveRequest>> active;
  active.push_back(row_of({1, 2, 3, 4, 5, 6}, 2));
  const auto asks = row_of({1, 2, 3, 4, 5, 6, 7}, 7);
  EXPECT_EQ(find_prefix(active, *asks, 2).pages, 1);
  active.front()->cached = 5;
  EXPECT_EQ(find_prefix(active, *asks, 2).pages, 2);
}

TEST(FindPrefix, RowsThatScoreTakeNoPart) {
  std::list<std::unique_ptr<LiveRequest>> active;
  active.push_back(row_of({1, 2, 3, 4}, 4));
  auto asks = row_of({1, 2, 3, 4, 5}, 5);
  EXPECT_EQ(find_prefix(active, *asks, 2).pages, 2);
  asks->asked.prompt_logprobs = true;
  EXPECT_EQ(find_prefix(active, *asks, 2).pages, 0);
}

// Pages below the tier where the model computes are there from the next sweep on.
TEST(LiveRequest, WaitsForPagesBelowUntilTheyAreStored) {
  auto donor = row_of({1, 2, 3, 4}, 4), row = row_of({1, 2, 5}, 3);
  row->donor = donor.get();
  row->shared_tokens = 2;
  EXPECT_TRUE(row->waits());
  donor->riding = 2;
  EXPECT_FALSE(row->waits());
  row->home = {Tier::disk, kAllPages};
  EXPECT_TRUE(row->waits());
  donor->cached = 2;
  EXPECT_FALSE(row->waits());
}

class SharedPrefixTest : public ::testing::Test {
 protected:
  EngineOptions options(const std::string& config, const char* weights, const char* kv) {
    tiny_.emplace(config);
    EngineOptions options = tiny_->options;
    options.weights = weights;
    options.kv = kv;
    options.expected_rows = 12;
    options.max_prompt = 100;
    options.max_new = 10;
    return options;
  }

  static std::vector<int32_t> random_tokens(std::mt19937& random, int count) {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 500);
    return tokens;
  }

  // Two headers, one the beginning of the other; tails of all lengths, one of them a single token;
  // one prompt three times; a scored row and one with log-probabilities of its prompt.
  static std::vector<Request> requests() {
    std::mt19937 random(3);
    const std::vector<int32_t> header = random_tokens(random, 53);
    std::vector<int32_t> longer = header;
    for (const int32_t token : random_tokens(random, 20)) longer.push_back(token);
    std::vector<Request> requests;
    const int tails[] = {5, 1, 12, 30, 7, 7, 7, 1, 3, 19, 2, 11};
    for (int i = 0; i < 12; ++i) {
      Request& request = requests.emplace_back();
      request.tokens = i % 3 == 2 ? longer : header;
      std::mt19937 own(i >= 4 && i <= 6 ? 99 : 1000 + static_cast<unsigned>(i));
      for (const int32_t token : random_tokens(own, tails[i])) request.tokens.push_back(token);
      request.sampling.max_tokens = 3 + i % 8;
      request.sampling.temperature = i % 2 == 0 ? 0.0 : 0.8;
      request.sampling.seed = static_cast<uint64_t>(i);
      request.sampling.ignore_eos = true;
      request.sampling.logprobs = 1;
      request.score = i == 8;
      request.prompt_logprobs = i == 9;
    }
    return requests;
  }

  static Outcome run(const EngineOptions& options) {
    Engine engine(options);
    Outcome outcome;
    collect(engine, submit(engine, requests()), outcome);
    return outcome;
  }

  static void expect_same(const Outcome& found, const Outcome& expected, const std::string& what) {
    ASSERT_TRUE(found.same(expected)) << what;
    expect_honest(found.stats);
  }

  std::optional<TinyEngine> tiny_;
};

TEST_F(SharedPrefixTest, SameBitsUnderRandomPolicies) {
  for (const char* kv : {"bf16", "int8", "int4"}) {
    for (const bool llama : {true, false}) {
      const std::string config = llama ? tiny_llama_config("float32") : tiny_opt_config("float32");
      EngineOptions base = options(config, "auto", kv);
      base.policy = R"({"share_prefix": false})";
      const Outcome expected = run(base);
      EXPECT_EQ(expected.stats.shared_tokens, 0u);
      PolicyMaker maker(llama ? 1 : 2);
      for (int i = 0; i < 14; ++i) {
        base = maker.options(base);
        nlohmann::json policy = nlohmann::json::parse(base.policy);
        policy["share_prefix"] = true;
        if (base.device == "cpu" && maker.pick(2) == 0) policy.erase("kv_share");
        base.policy = policy.dump();
        const Outcome found = run(base);
        expect_same(found, expected, base.device + " " + base.policy);
        EXPECT_EQ(found.stats.prompt_tokens + found.stats.shared_tokens,
                  expected.stats.prompt_tokens);
      }
    }
  }
}

TEST_F(SharedPrefixTest, AHeaderIsComputedOnce) {
  EngineOptions base = options(tiny_llama_config("bfloat16"), "auto", "auto");
  const Outcome found = run(base);
  // 12 prompts begin with 53 tokens or more; a page holds 32. Of the ten rows that generate without
  // log-probabilities of their prompts, all but the first share a page at least.
  EXPECT_GE(found.stats.shared_tokens, 9u * 32);
  uint64_t prompts = 0;
  for (const Request& request : requests()) prompts += request.tokens.size();
  EXPECT_EQ(found.stats.prompt_tokens + found.stats.shared_tokens, prompts);
}

TEST_F(SharedPrefixTest, TooLittleSpaceForAllChangesNothing) {
  EngineOptions base = options(tiny_llama_config("bfloat16"), "auto", "auto");
  base.policy = R"({"share_prefix": false})";
  const Outcome expected = run(base);
  base.disk.clear();
  base.disk_memory = 0;
  base.policy.clear();
  for (uint64_t half_mebibytes = 5; half_mebibytes < 14; ++half_mebibytes) {
    base.host_memory = half_mebibytes << 19;
    try {
      expect_same(run(base), expected, std::to_string(base.host_memory));
    } catch (const ApiError& error) {
      EXPECT_EQ(error.code, "budget");  // does not fit at all
    }
  }
}

// The row that was to compute the header goes away in the middle of it.
TEST_F(SharedPrefixTest, ACancelledDonorLeavesNobodyWithoutPages) {
  EngineOptions base = options(tiny_llama_config("bfloat16"), "auto", "auto");
  base.policy = R"({"share_prefix": false})";
  const Outcome expected = run(base);
  for (const int chunk : {4, 20, 60}) {
    base.policy = R"({"prefill_chunk": )" + std::to_string(chunk) + "}";
    Engine engine(base);
    const std::map<uint64_t, int> row_of = submit(engine, requests());
    Outcome found;
    engine.step();
    for (const auto& [id, row] : row_of) {
      if (row == 0 || row == 2) engine.cancel(id);
    }
    collect(engine, row_of, found);
    for (int i = 0; i < 12; ++i) {
      if (i == 0 || i == 2 || i == 8) continue;  // gone, or scored: no tokens
      // The first step's token, if there was one, is not in `found`.
      const auto& all = expected.tokens.at(i);
      const auto& rest = found.tokens[i];
      ASSERT_LE(rest.size(), all.size());
      EXPECT_TRUE(std::equal(rest.begin(), rest.end(), all.end() - rest.size())) << chunk;
      EXPECT_GE(rest.size() + 1, all.size());
    }
  }
}

}  // namespace
}  // namespace penstock
