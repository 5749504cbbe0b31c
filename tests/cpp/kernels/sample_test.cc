#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/sample_weight.h"
#include "support/kernels.h"

namespace penstock {
namespace {

using test::Random;
using test::TestContext;

constexpr float kNever = -INFINITY;

SampleRow drawing(double temperature, double uniform) {
  SampleRow how;
  how.scale = 1 / temperature;
  how.uniform = uniform;
  return how;
}

// What params.h says, by sorting everything.
int32_t expected_token(const std::vector<float>& logits, const SampleRow& how) {
  float top = kNever;
  for (const float logit : logits) top = logit > top ? logit : top;
  if (top == kNever) return -1;
  const auto first = std::find(logits.begin(), logits.end(), top) - logits.begin();
  if (how.scale == 0 || std::isinf(top)) return static_cast<int32_t>(first);
  std::vector<uint64_t> weights;
  std::vector<size_t> order;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double x = (double{logits[i]} - top) * how.scale;
    const bool counts = logits[i] > kNever && !(x < how.floor);
    weights.push_back(counts ? sample_weight(x) : 0);
    if (weights.back() > 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (how.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(how.top_k)));
  uint64_t total = 0, mass = 0;
  for (const size_t i : order) total += weights[i];
  size_t count = 0;
  while (count < order.size() &&
         static_cast<double>(mass) < how.top_p * static_cast<double>(total)) {
    mass += weights[order[count++]];
  }
  order.resize(count);
  std::sort(order.begin(), order.end());
  double left = how.uniform * static_cast<double>(mass);
  uint64_t sum = 0;
  for (const size_t i : order) {
    sum += weights[i];
    if (static_cast<double>(sum) > left) return static_cast<int32_t>(i);
  }
  return static_cast<int32_t>(order.back());
}

// Rows of one op: logits a stride apart, results among others that must stay.
std::vector<int32_t> sample(const test::Kernels& on, const std::vector<std::vector<float>>& logits,
                            std::vector<SampleRow> rows) {
  const auto columns = static_cast<int64_t>(logits.front().size()), stride = columns + 3;
  std::vector<float> block(static_cast<size_t>(stride) * logits.size(), 1e30f);
  for (size_t i = 0; i < logits.size(); ++i) {
    std::copy(logits[i].begin(), logits[i].end(), block.begin() + static_cast<int64_t>(i) * stride);
  }
  std::vector<int32_t> tokens(logits.size(), -7);
  on.table.sample({block.data(), stride, columns, rows.data(), static_cast<int64_t>(rows.size()),
                   tokens.data()},
                  on.context);
  return tokens;
}

TEST(Sample, WeightsAreTheExponentialToTheLastPlace) {
  Random random(1);
  EXPECT_EQ(sample_weight(0), uint64_t{1} << kSampleWeightBits);
  EXPECT_EQ(sample_weight(-0.0), uint64_t{1} << kSampleWeightBits);
  EXPECT_EQ(sample_weight(-1e300), 0u);
  EXPECT_EQ(sample_weight(-INFINITY), 0u);
  EXPECT_EQ(sample_weight(NAN), 0u);
  for (int i = 0; i < 100000; ++i) {
    const double x = -28.0 * i / 100000;
    const long double exact = std::exp(static_cast<long double>(x)) * 0x1p38L;
    EXPECT_NEAR(static_cast<double>(sample_weight(x)), static_cast<double>(exact), 0.52) << x;
    EXPECT_GE(sample_weight(x), sample_weight(x - 1e-3)) << x;
  }
}

TEST(Sample, TheBestOneIsTheLowestOfEquals) {
  const TestContext context(2);
  std::vector<float> plain(700, 0.5f), ends(700, kNever), bad(700, NAN), infinite(700, 1.0f);
  plain[311] = plain[290] = plain[699] = 4.5f;
  ends[699] = -1e30f;
  bad[44] = -3.0f;
  bad[45] = -2.0f;
  infinite[600] = infinite[601] = INFINITY;
  const std::vector<float> none(700, kNever), no_numbers(700, NAN), zeros(700, -0.0f);
  const std::vector<std::vector<float>> logits = {plain,    ends, bad,        zeros,
                                                  infinite, none, no_numbers, plain};
  const std::vector<int32_t> expected = {290, 699, 45, 0, 600, -1, -1, -7};
  std::vector<SampleRow> greedy(7), hot(7, drawing(1e-9, 0.3)), huge(7, drawing(1e-300, 0.9));
  for (std::vector<SampleRow>* rows : {&greedy, &hot, &huge}) {
    for (size_t i = 0; i < rows->size(); ++i) (*rows)[i].row = static_cast<int64_t>(i);
  }
  hot[0].top_k = 1;  // of three equals
  huge[0].top_k = 1;
  hot[3].uniform = huge[3].uniform = 0;  // of 700
  test::for_each_isa([&](const KernelTable& table) {
    EXPECT_EQ(sample({table, context}, logits, greedy), expected);
    EXPECT_EQ(sample({table, context}, logits, hot), expected);
    EXPECT_EQ(sample({table, context}, logits, huge), expected);
  });
}

// Few different values, so that cuts fall among equals, or many.
std::vector<float> random_logits(Random& random, int64_t columns) {
  std::vector<float> logits = random.normals(columns, 3.0f);
  const auto kind = random.below(4);
  for (float& logit : logits) {
    if (kind == 0) logit = std::round(logit);
    if (kind == 1 && random.below(10) == 0) logit = kNever;
    if (kind == 2 && random.below(50) == 0) logit = NAN;
  }
  return logits;
}

SampleRow random_row(Random& random, int64_t columns) {
  constexpr double kTemperatures[] = {0.05, 0.7, 1.0, 3.0, 100.0};
  constexpr double kUniforms[] = {0.0, 0x1.fffffffffffffp-1};
  const auto part = [&] { return static_cast<double>(random.below(1000)) / 1000; };
  SampleRow how = drawing(kTemperatures[random.below(5)], part());
  if (random.below(4) == 0) how.uniform = kUniforms[random.below(2)];
  if (random.below(2) == 0) how.top_k = 1 + static_cast<int32_t>(random.below(columns + 5));
  if (random.below(3) == 0) how.top_k = 1 + static_cast<int32_t>(random.below(40));
  if (random.below(2) == 0) how.top_p = std::max(1e-6, part());
  if (random.below(3) == 0) how.floor = std::log(std::max(1e-6, part()));
  return how;
}

TEST(Sample, DrawsAreThoseOfSortingEverything) {
  const TestContext context(2);
  for (const int64_t columns : {1, 2, 17, 511, 513, 3000, 20011}) {
    SCOPED_TRACE(columns);
    Random random(static_cast<uint64_t>(columns));
    std::vector<std::vector<float>> logits;
    std::vector<SampleRow> rows;
    std::vector<int32_t> expected;
    for (int64_t i = 0; i < 24; ++i) {
      logits.push_back(random_logits(random, columns));
      expected.push_back(-7);
      if (i % 8 == 5) continue;  // a row that is not asked about
      rows.push_back(random_row(random, columns));
      rows.back().row = i;
      expected.back() = expected_token(logits.back(), rows.back());
    }
    test::for_each_isa([&](const KernelTable& table) {
      EXPECT_EQ(sample({table, context}, logits, rows), expected);
    });
  }
}

TEST(Sample, EveryTokenHasItsShareOfTheMass) {
  const TestContext context(2);
  const std::vector<float> logits = {0.0f, std::log(2.0f), std::log(5.0f), kNever, 0.0f};
  std::vector<SampleRow> rows;
  for (int i = 0; i < 900; ++i) {
    rows.push_back(drawing(1.0, (i + 0.5) / 900));
    rows.back().row = i;
  }
  test::for_each_isa([&](const KernelTable& table) {
    std::vector<int> counts(5);
    const std::vector<std::vector<float>> all(900, logits);
    for (const int32_t token : sample({table, context}, all, rows)) ++counts.at(token);
    EXPECT_EQ(counts, (std::vector<int>{100, 200, 500, 0, 100}));
  });
}

}  // namespace
}  // namespace penstock
