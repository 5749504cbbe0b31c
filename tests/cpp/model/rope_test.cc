// Expected values come from the formulas, evaluated here in double; tests/python/oracle compares
// with the reference code.
#include "model/rope.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "model/config_cases.h"

namespace penstock {
namespace {

constexpr int kHeadDim = 20;

Rope rope_of(const char* patch) {
  const Json json = parse_strict_json(patch, "patch");
  const ConfigObject root(json, "", "f");
  return read_rope(root, {kHeadDim, 64, 10000});
}

double frequency(double theta, size_t i) {
  return std::pow(theta, -2.0 * static_cast<double>(i) / kHeadDim);
}

void expect_frequencies(const Rope& rope, const std::function<double(size_t)>& expected) {
  ASSERT_EQ(rope.rotary.inv_freq.size(), 10u);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_NEAR(rope.rotary.inv_freq[i] / expected(i), 1, 1e-6) << i;
  }
}

TEST(Rope, BothSpellingsOfTheta) {
  const auto expected = [](size_t i) { return frequency(5e5, i); };
  expect_frequencies(rope_of(R"({"rope_theta": 500000})"), expected);
  expect_frequencies(
      rope_of(R"({"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}})"),
      expected);
  expect_frequencies(rope_of(R"({"rope_parameters": {"rope_theta": 500000.0}})"), expected);
  expect_frequencies(rope_of(R"({"rope_theta": 5e5, "rope_scaling": null})"), expected);
  expect_frequencies(rope_of("{}"), [](size_t i) { return frequency(1e4, i); });
}

TEST(Rope, LinearAndDynamic) {
  expect_frequencies(rope_of(R"({"rope_scaling": {"type": "linear", "factor": 4}})"),
                     [](size_t i) { return frequency(1e4, i) / 4; });
  const Rope dynamic = rope_of(R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})");
  expect_frequencies(dynamic, [](size_t i) { return frequency(1e4, i); });
  EXPECT_EQ(dynamic.max_positions, 64);
  EXPECT_EQ(dynamic.notes.size(), 1u);
}

TEST(Rope, Llama3) {
  const Rope rope =
      rope_of(R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
      "high_freq_factor": 4.0, "original_max_position_embeddings": 32}})");
  expect_frequencies(rope, [](size_t i) {
    const double plain = frequency(1e4, i), length = 2 * std::numbers::pi / plain;
    if (length < 8) return plain;
    if (length > 32) return plain / 8;
    const double smooth = (32 / length - 1) / 3;
    return (1 - smooth) * plain / 8 + smooth * plain;
  });
  EXPECT_EQ(rope.rotary.attention_factor, 1.0f);
}

TEST(Rope, Yarn) {
  const Rope rope = rope_of(R"({"rope_scaling": {"type": "yarn", "rope_type": "yarn", "factor": 4.0,
      "original_max_position_embeddings": 16, "beta_fast": 2, "beta_slow": 0.5}})");
  const auto dimension = [](double turns) {
    return kHeadDim * std::log(16 / (turns * 2 * std::numbers::pi)) / (2 * std::log(1e4));
  };
  const double low = std::floor(dimension(2)), high = std::ceil(dimension(0.5));
  expect_frequencies(rope, [&](size_t i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    return frequency(1e4, i) * ((1 - ramp) + ramp / 4);
  });
  EXPECT_NEAR(rope.rotary.attention_factor, 0.1 * std::log(4) + 1, 1e-6);
  const Rope own =
      rope_of(R"({"rope_scaling": {"type": "yarn", "factor": 4.0, "attention_factor": 1.5}})");
  EXPECT_EQ(own.rotary.attention_factor, 1.5f);
  const Rope scaled = rope_of(
      R"({"rope_scaling": {"type": "yarn", "factor": 4, "mscale": 0.7, "mscale_all_dim": 2}})");
  EXPECT_NEAR(scaled.rotary.attention_factor, (0.07 * std::log(4) + 1) / (0.2 * std::log(4) + 1),
              1e-6);
}

TEST(Rope, LongropeEndsAtTheOriginalContext) {
  const Rope rope =
      rope_of(R"({"original_max_position_embeddings": 16, "rope_scaling": {"type": "longrope",
      "short_factor": [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5], "long_factor": [9, 9, 9, 9, 9, 9, 9, 9, 9, 9]}})");
  expect_frequencies(
      rope, [](size_t i) { return frequency(1e4, i) / (1 + 0.5 * static_cast<double>(i)); });
  EXPECT_EQ(rope.max_positions, 16);
  EXPECT_EQ(rope.notes.size(), 1u);
  EXPECT_NEAR(rope.rotary.attention_factor, std::sqrt(1 + std::log(4) / std::log(16)), 1e-6);
}

}  // namespace
}  // namespace penstock
