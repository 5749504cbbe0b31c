// Three tiers at once: random shares of weights, keys and values, and hidden rows over device, host
// and disk on the virtual accelerator, with attention on either side of the link and sequences cut
// between them. Every row's bits are those of the plain CPU run.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <random>

#include "penstock/engine.h"
#include "support/outcome.h"
#include "support/policy_maker.h"
#include "support/tiny_model.h"

namespace penstock {
namespace {

using testing::collect;
using testing::expect_honest;
using testing::Outcome;
using testing::PolicyMaker;
using testing::submit;
using testing::tiny_llama_config;
using testing::tiny_opt_config;
using testing::write_tiny_model;

struct Format {
  bool llama;
  const char* weights;
  const char* kv;
  int policies;
};

// The tiny models, with room for sequences of more than one attention segment.
std::string config_of(const Format& format) {
  std::string config = format.llama ? tiny_llama_config("float32") : tiny_opt_config("float32");
  const std::string key = "\"max_position_embeddings\":256";
  return config.replace(config.find(key), key.size(), "\"max_position_embeddings\":900");
}

std::vector<int32_t> random_tokens(uint32_t seed, int count) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 500);
  return tokens;
}

// Different prompts, short and long (sequences that are cut between host and device hold several
// attention segments), two of them with a common beginning, one scored.
std::vector<Request> requests() {
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
    request.sampling.logprobs = 2;
    request.score = i == 7;
  }
  return requests;
}

class ThreeTiers : public ::testing::TestWithParam<Format> {
 protected:
  ThreeTiers() {
    folder_ = ::testing::TempDir() + "penstock-tiers-" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    write_tiny_model(folder_, config_of(GetParam()));
    base_.model = folder_;
    base_.weights = GetParam().weights;
    base_.kv = GetParam().kv;
    base_.threads = 1;
    base_.host_memory = uint64_t{256} << 20;
    base_.device_memory = uint64_t{128} << 20;
    base_.disk = ::testing::TempDir();
    base_.disk_memory = uint64_t{256} << 20;
    base_.expected_rows = 8;
    base_.max_prompt = 530;
    base_.mean_prompt = 200;
    base_.mean_new = 5;
    base_.max_new = 8;
  }
  ~ThreeTiers() override { std::filesystem::remove_all(folder_); }

  static Outcome run(const EngineOptions& options) {
    Engine engine(options);
    Outcome outcome;
    const nlohmann::json predicted = nlohmann::json::parse(engine.predict(row_lengths()));
    collect(engine, submit(engine, requests()), outcome);
    expect_honest(outcome.stats);
    expect_predicted(outcome.stats, predicted);
    outcome.logits = engine.logits(requests()[7].tokens);
    return outcome;
  }

  static std::vector<RowTokens> row_lengths() {
    std::vector<RowTokens> rows;
    for (const Request& request : requests()) {
      rows.push_back({static_cast<int64_t>(request.tokens.size()),
                      request.score ? 0 : request.sampling.max_tokens, request.tokens});
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

  std::string folder_;
  EngineOptions base_;
};

TEST_P(ThreeTiers, RandomPoliciesGiveTheBitsOfTheCpu) {
  base_.policy = R"({"share_prefix": false})";
  const Outcome expected = run(base_);
  PolicyMaker maker(std::hash<std::string>{}(std::string(GetParam().weights) + GetParam().kv));
  std::map<std::string, int> used;
  for (int i = 0; i < GetParam().policies; ++i) {
    const EngineOptions options = maker.options(base_, "virtual");
    const Outcome found = run(options);
    ASSERT_TRUE(found.same(expected)) << options.policy;
    for (const auto& [lane, report] : found.stats.lanes) used[lane] += report.tasks > 0;
    used["shared"] += found.stats.shared_tokens > 0;
  }
  for (const char* lane : {"host_compute", "h2d", "d2h", "disk_read", "disk_write", "shared"}) {
    EXPECT_GT(used[lane], 0) << lane;
  }
}

// What goes wrong where one workspace serves all micro-batches: host attention over rows of
// different prompts in several launches that share one visit of the weights.
TEST_P(ThreeTiers, HostAttentionOfSeveralMicroBatchesOfDifferentPrompts) {
  base_.policy = R"({"share_prefix": false})";
  const Outcome expected = run(base_);
  base_.device = "virtual";
  base_.delay_seed = 5;
  for (const char* kv_share :
       {R"({"host": 1})", R"({"disk": 1})", R"({"host": 0.5, "disk": 0.5})"}) {
    base_.policy =
        std::string(
            R"({"share_prefix": false, "host_attention": true, "micro_batch": 2, "micro_batches": 4,
        "weight_share": {"host": 0.5, "disk": 0.5}, "kv_share": )") +
        kv_share + "}";
    const Outcome found = run(base_);
    ASSERT_TRUE(found.same(expected)) << base_.policy;
    EXPECT_GT(found.stats.lanes.at("host_compute").tasks, 0u);
  }
}

// 300 in all.
INSTANTIATE_TEST_SUITE_P(Formats, ThreeTiers,
                         ::testing::Values(Format{true, "auto", "bf16", 60},
                                           Format{true, "int8", "int8", 60},
                                           Format{true, "int4", "int4", 60},
                                           Format{false, "auto", "fp16", 60},
                                           Format{false, "int4-g128", "int8", 60}),
                         [](const auto& info) {
                           std::string name = std::string(info.param.llama ? "llama" : "opt") +
                                              "_" + info.param.weights + "_" + info.param.kv;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace penstock
