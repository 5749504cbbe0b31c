// The engine as an embedding application sees it: refusals before any work, isolation of bad
// requests, errors that leave the process alone, budgets.
#include "penstock/engine.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/live_request.h"
#include "support/tiny_engine.h"

namespace penstock {
namespace {

using testing::greedy_request;
using testing::tiny_llama_config;
using testing::TinyEngine;

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    options_.model = folder_;
    options_.threads = 2;
    options_.host_memory = uint64_t{64} << 20;
    options_.expected_rows = 4;
    options_.max_prompt = 40;
    options_.max_new = 8;
  }

  static Request request(int length, int max_tokens) {
    Request request = greedy_request(max_tokens);
    for (int i = 0; i < length; ++i) request.tokens.push_back((i * 37 + 11) % 500);
    return request;
  }

  static std::map<uint64_t, std::vector<int32_t>> drain(Engine& engine) {
    std::map<uint64_t, std::vector<int32_t>> tokens;
    while (!engine.idle()) {
      for (const Event& event : engine.step()) {
        for (const TokenChoice& choice : event.tokens)
          tokens[event.request].push_back(choice.token);
      }
    }
    return tokens;
  }

  std::string refused(const EngineOptions& options) {
    try {
      Engine engine(options);
    } catch (const ApiError& error) {
      return error.code + "|" + error.field + "|" + error.what();
    }
    return "accepted";
  }

  TinyEngine tiny_{tiny_llama_config("bfloat16")};
  std::string folder_ = tiny_.folder.path();
  EngineOptions options_;
};

TEST_F(EngineTest, BadRequestsAreRefusedByNameAndHurtNobody) {
  Engine engine(options_);
  const uint64_t good = engine.submit(request(5, 4));
  const auto code_of = [&](const Request& bad) -> std::string {
    try {
      engine.submit(bad);
    } catch (const ApiError& error) {
      return error.code + " " + error.field;
    }
    return "accepted";
  };
  EXPECT_EQ(code_of(request(0, 4)), "invalid_argument prompt");
  EXPECT_EQ(code_of(request(250, 40)), "invalid_argument prompt");
  EXPECT_EQ(code_of(request(3, 0)), "invalid_argument max_tokens");
  Request outside = request(3, 3);
  outside.tokens[1] = 530;
  EXPECT_EQ(code_of(outside), "invalid_argument prompt");
  outside.tokens[1] = -1;
  EXPECT_EQ(code_of(outside), "invalid_argument prompt");
  const auto tokens = drain(engine);
  ASSERT_EQ(tokens.size(), 1u);
  EXPECT_EQ(tokens.at(good).size(), 4u);
}

TEST_F(EngineTest, TooSmallABudgetIsRefusedWithTheSmallestThatWorks) {
  options_.host_memory = 100000;
  std::string text = refused(options_);
  EXPECT_EQ(text.substr(0, 6), "budget") << text;
  try {
    Engine engine(options_);
    FAIL();
  } catch (const ApiError& error) {
    // The figure named is enough, and one byte less is not.
    const uint64_t smallest =
        std::stoull(error.allowed.substr(error.allowed.find_first_of("0123456789")));
    options_.host_memory = smallest;
    Engine engine(options_);
    engine.submit(request(40, 8));
    EXPECT_EQ(drain(engine).begin()->second.size(), 8u);
    EXPECT_LE(engine.stats().peak_bytes.at("host"), smallest);
    options_.host_memory = smallest - 1;
    EXPECT_EQ(refused(options_).substr(0, 6), "budget");
  }
}

TEST_F(EngineTest, UnknownOptionsAreRefusedByName) {
  EngineOptions options = options_;
  options.device = "tpu";
  EXPECT_NE(refused(options).find("tpu"), std::string::npos);
  options = options_;
  options.device = "cuda:0";
  EXPECT_EQ(refused(options).substr(0, 11), "unsupported") << refused(options);
  options = options_;
  options.device = "cpu:avx9";
  EXPECT_NE(refused(options).find("avx9"), std::string::npos);
  options = options_;
  options.weights = "int3";
  EXPECT_EQ(refused(options).substr(0, 11), "unsupported") << refused(options);
  options = options_;
  options.compute = "sloppy";
  EXPECT_EQ(refused(options).substr(0, 24), "invalid_argument|compute") << refused(options);
  options = options_;
  options.policy = R"({"micro_bach": 3})";
  EXPECT_NE(refused(options).find("micro_bach"), std::string::npos);
}

TEST_F(EngineTest, ATruncatedShardIsATypedErrorInTheMiddleOfTheRun) {
  options_.policy = R"({"weight_share":{"device":0,"host":0,"disk":1}})";
  Engine engine(options_);
  engine.submit(request(20, 8));
  engine.step();
  std::filesystem::resize_file(folder_ + "/model.safetensors", 5000);
  try {
    while (!engine.idle()) engine.step();
    FAIL() << "a truncated file went unnoticed";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.code, "io");
    EXPECT_NE(std::string(error.what()).find("model.safetensors"), std::string::npos);
  }
}

TEST_F(EngineTest, AChangedByteInThePackedCacheIsFound) {
  options_.weights = "int4-g32";
  options_.policy = R"({"weight_share":{"device":0,"host":0,"disk":1}})";
  Engine engine(options_);
  engine.submit(request(20, 8));
  engine.step();
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/.penstock")) {
    const auto middle = std::filesystem::file_size(entry) / 2 / 4096 * 4096 + 100;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(middle));
    const char changed = static_cast<char>(file.get() ^ 0x10);
    file.seekp(static_cast<std::streamoff>(middle));
    file.put(changed);
  }
  try {
    while (!engine.idle()) engine.step();
    FAIL() << "a changed byte went unnoticed";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.code, "corrupt") << error.what();
  }
}

TEST_F(EngineTest, PackingIsReportedWhenThereIsSomethingToPack) {
  options_.weights = "int4-g32";
  std::vector<uint64_t> done;
  uint64_t total = 0;
  const PackProgress packing = [&](uint64_t bytes, uint64_t all) {
    done.push_back(bytes);
    total = all;
  };
  const Engine first(options_, packing);
  ASSERT_GT(done.size(), 2u);
  EXPECT_EQ(done.front(), 0u);
  EXPECT_EQ(done.back(), total);
  done.clear();
  const Engine second(options_, packing);
  EXPECT_TRUE(done.empty()) << "nothing is packed twice";
}

TEST_F(EngineTest, CancelledRowsLeaveAndTheOthersFinishTheSame) {
  Engine alone(options_);
  const uint64_t only = alone.submit(request(30, 8));
  const auto expected = drain(alone).at(only);
  Engine engine(options_);
  const uint64_t victim = engine.submit(request(12, 8));
  const uint64_t kept = engine.submit(request(30, 8));
  std::vector<int32_t> tokens;
  for (const Event& event : engine.step()) {
    if (event.request == kept) tokens.push_back(event.tokens.front().token);
  }
  engine.cancel(victim);
  engine.cancel(9999);
  const auto rest = drain(engine);
  EXPECT_EQ(rest.count(victim), 0u);
  tokens.insert(tokens.end(), rest.at(kept).begin(), rest.at(kept).end());
  EXPECT_EQ(tokens, expected);
}

TEST_F(EngineTest, MoreRowsThanKvSpaceRunOneAfterTheOther) {
  options_.host_memory = 100000;
  try {
    Engine engine(options_);
  } catch (const ApiError& error) {
    options_.host_memory =
        std::stoull(error.allowed.substr(error.allowed.find_first_of("0123456789")));
  }
  Engine engine(options_);
  for (int i = 0; i < 12; ++i) engine.submit(request(20 + i, 8));
  const auto tokens = drain(engine);
  EXPECT_EQ(tokens.size(), 12u);
  for (const auto& [row, list] : tokens) EXPECT_EQ(list.size(), 8u) << row;
}

// Rows enter as if they ended soon, and outgrow the KV space together: some are put back.
TEST_F(EngineTest, RowsThatGoOnForLongerThanExpectedGiveTheSame) {
  options_.host_memory = 5600000;
  options_.max_new = 200;
  options_.mean_new = 4;
  options_.max_prompt = options_.mean_prompt = 20;
  options_.expected_rows = 8;
  std::map<int, std::vector<int32_t>> alone;
  for (const int expected : {0, 2}) {
    Engine engine(options_);
    std::map<uint64_t, int> lengths;
    for (int i = 0; i < 8; ++i) {
      Request row = request(10 + i, 200);
      row.expected_new = expected;
      lengths[engine.submit(row)] = i;
    }
    for (const auto& [id, tokens] : drain(engine)) {
      ASSERT_EQ(tokens.size(), 200u);
      if (expected == 0) alone[lengths.at(id)] = tokens;
      EXPECT_EQ(tokens, alone.at(lengths.at(id))) << lengths.at(id);
    }
    EXPECT_EQ(alone.size(), 8u);
  }
}

TEST(LiveRequest, LikelyLengthIsTwiceWhatWasExpectedAsOftenAsItWasOutgrown) {
  LiveRequest row;
  row.prompt_tokens = 10;
  row.tokens.resize(10);
  row.asked.sampling.max_tokens = 100;
  EXPECT_EQ(row.likely_length(), 110);
  row.asked.expected_new = 16;
  EXPECT_EQ(row.likely_length(), 26);
  row.tokens.resize(25);
  EXPECT_EQ(row.likely_length(), 26);
  row.tokens.resize(26);
  EXPECT_EQ(row.likely_length(), 42);
  row.tokens.resize(100);
  EXPECT_EQ(row.likely_length(), 110);
  row.asked.score = true;
  EXPECT_EQ(row.likely_length(), 10);
}

TEST_F(EngineTest, StopTokensAndMinTokens) {
  Engine engine(options_);
  const uint64_t free_run = engine.submit(request(10, 8));
  const auto free_tokens = drain(engine).at(free_run);
  Request stopping = request(10, 8);
  stopping.sampling.stop_token_ids = {free_tokens[2]};
  const uint64_t stopped = engine.submit(stopping);
  std::string reason;
  std::vector<int32_t> tokens;
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      EXPECT_EQ(event.request, stopped);
      tokens.push_back(event.tokens.front().token);
      if (event.finished) reason = event.finish_reason;
    }
  }
  EXPECT_EQ(reason, "stop");
  EXPECT_EQ(tokens.back(), free_tokens[2]);
  EXPECT_LE(tokens.size(), 3u);
}

// Of models that are made on the spot.
TEST_F(EngineTest, RandomWeightsAreTheSameOnAnyNumberOfThreads) {
  for (const char* weights : {"auto", "int4"}) {
    std::vector<std::vector<float>> logits;
    for (const int threads : {1, 3}) {
      EngineOptions options;
      options.model = "dummy:opt-125m";
      options.weights = weights;
      options.threads = threads;
      options.host_memory = uint64_t{640} << 20;
      options.expected_rows = 1;
      options.max_prompt = 8;
      options.max_new = 1;
      options.policy = R"({"weight_share": {"host": 1}})";
      Engine engine(options);
      logits.push_back(engine.logits({5, 99, 7}));
    }
    EXPECT_EQ(logits[0], logits[1]) << weights;
    EXPECT_NE(logits[0].front(), logits[0].back());
  }
}

TEST_F(EngineTest, PeakMemoryIsThePlanItem) {
  Engine engine(options_);
  for (int i = 0; i < 6; ++i) engine.submit(request(25, 8));
  drain(engine);
  const Stats stats = engine.stats();
  EXPECT_LE(stats.peak_bytes.at("host"), options_.host_memory);
  EXPECT_GT(stats.host_items.at("kv"), 0u);
  EXPECT_GT(stats.host_items.at("weights"), 0u);
  const auto planned = nlohmann::json::parse(engine.describe())["memory"];
  for (const auto& item : planned) {
    if (item["tier"] != "host" || item["label"] == "engine") continue;  // tables: set aside
    const std::string label = item["label"];
    EXPECT_LE(stats.host_items.at(label), item["bytes"].get<uint64_t>()) << label;
  }
}

}  // namespace
}  // namespace penstock
