// Three tiers at once: random shares of weights, keys and values, and hidden rows over device, host
// and disk on the virtual accelerator, with attention on either side of the link and sequences cut
// between them. Every row's bits are those of the plain CPU run.
#include <map>

#include "engine/tier_fixture.h"

namespace penstock {
namespace {

using testing::Outcome;
using testing::PolicyMaker;
using testing::TierFormat;

class ThreeTiers : public testing::TierFixture {};

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
                         ::testing::Values(TierFormat{true, "auto", "bf16", 60},
                                           TierFormat{true, "int8", "int8", 60},
                                           TierFormat{true, "int4", "int4", 60},
                                           TierFormat{false, "auto", "fp16", 60},
                                           TierFormat{false, "int4-g128", "int8", 60}),
                         testing::format_name);

}  // namespace
}  // namespace penstock
