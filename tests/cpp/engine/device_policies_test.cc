// Whole jobs on accelerators under random policies: the bits of the device's own plain run, and in
// fp32 the tokens of the CPU. On the virtual accelerator a few policies a format, on the test
// device (support/test_device.h) a hundred in all. Where a device's attention has not the CPU's
// bits, rows that the host attends to may differ in theirs, so these policies leave it to the
// device; another test has the host take part and looks at tokens.
#include <cmath>

#include "device/device.h"
#include "engine/tier_fixture.h"
#include "support/test_device.h"

namespace penstock {
namespace {

using test::devices_and;
using testing::Outcome;
using testing::PolicyMaker;
using testing::TierFormat;

class DevicePolicies : public testing::TierFixture {
 protected:
  static bool exact() {
    return std::string(GetParam().kv) == "fp32" && std::string(GetParam().weights) == "auto";
  }
  // Rows whose tokens are not drawn.
  static bool greedy(int row) {
    return testing::requests()[static_cast<size_t>(row)].sampling.temperature == 0;
  }

  EngineOptions plain_on(const std::string& device) const {
    EngineOptions options = base_;
    options.device = device;
    options.policy = R"({"share_prefix": false})";
    return options;
  }

  EngineOptions random_on(const std::string& device, PolicyMaker& maker, bool host_attention) {
    EngineOptions options = maker.options(base_, device);
    nlohmann::json policy = nlohmann::json::parse(options.policy);
    policy["host_attention"] = host_attention;
    options.policy = policy.dump();
    return options;
  }

  int policies(const std::string& device) const {
    return device == test::test_device() ? GetParam().policies : 3;
  }

  // Weight-only products are of GPUs.
  static std::vector<std::string> computes(const std::string& device) {
    if (device.starts_with("virtual") && device != "virtual:cuda") return {"fast"};
    return {"fast", "weight_only"};
  }

  static void expect_greedy_tokens(const Outcome& found, const Outcome& cpu) {
    for (const auto& [row, tokens] : cpu.tokens) {
      if (greedy(row)) {
        EXPECT_EQ(found.tokens.at(row), tokens) << "row " << row;
      }
    }
  }
};

TEST_P(DevicePolicies, ChangeNoBitOfWhatTheDeviceGives) {
  for (const std::string& device : devices_and({"virtual"})) {
    SCOPED_TRACE(device);
    for (const std::string& compute : computes(device)) {
      SCOPED_TRACE(compute);
      base_.compute = compute;
      const Outcome expected = run(plain_on(device));
      ASSERT_FALSE(expected.tokens.empty());
      PolicyMaker maker(std::hash<std::string>{}(std::string(GetParam().weights) + GetParam().kv));
      for (int i = 0; i < policies(device); ++i) {
        const EngineOptions options = random_on(device, maker, false);
        ASSERT_TRUE(run(options).same(expected)) << i << ": " << options.policy;
      }
    }
  }
}

TEST_P(DevicePolicies, InFp32TokensAreThoseOfTheCpu) {
  const Outcome cpu = run(plain_on("cpu"));
  for (const std::string& device : devices_and({"virtual"})) {
    SCOPED_TRACE(device);
    const Outcome found = run(plain_on(device));
    ASSERT_EQ(found.logits.size(), cpu.logits.size());
    double apart = 0, largest = 0;
    for (size_t i = 0; i < cpu.logits.size(); ++i) {
      apart = std::max(apart, std::abs(double{found.logits[i]} - double{cpu.logits[i]}));
      largest = std::max(largest, std::abs(double{cpu.logits[i]}));
    }
    // Codes of activations and caches turn to their neighbours for the least difference.
    EXPECT_LE(apart, (exact() ? 1e-4 : 0.1) * largest);
    if (exact()) expect_greedy_tokens(found, cpu);
  }
}

TEST_P(DevicePolicies, TheHostMayAttendToo) {
  const Outcome cpu = run(plain_on("cpu"));
  for (const std::string& device : devices_and({"virtual"})) {
    SCOPED_TRACE(device);
    PolicyMaker maker(17);
    for (int i = 0; i < 3; ++i) {
      EngineOptions options = random_on(device, maker, true);
      nlohmann::json policy = nlohmann::json::parse(options.policy);
      policy["kv_share"] = {{"device", 0.25}, {"host", 0.75}};
      options.policy = policy.dump();
      const Outcome found = run(options);
      EXPECT_EQ(found.tokens.size(), cpu.tokens.size());
      EXPECT_GT(found.stats.lanes.at("host_compute").tasks, 0u) << options.policy;
      if (exact()) expect_greedy_tokens(found, cpu);
    }
  }
}

// A hundred policies.
INSTANTIATE_TEST_SUITE_P(Formats, DevicePolicies,
                         ::testing::Values(TierFormat{true, "auto", "fp32", 25},
                                           TierFormat{true, "auto", "bf16", 25},
                                           TierFormat{true, "int4", "int8", 25},
                                           TierFormat{false, "int8", "fp32", 25}),
                         testing::format_name);

}  // namespace
}  // namespace penstock
