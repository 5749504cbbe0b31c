#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/kernels.h"

namespace penstock {
namespace {

using test::Random;
using test::TestContext;

std::vector<ScoreState> score(const test::Kernels& on, const std::vector<float>& logits, int64_t m,
                              const std::vector<int32_t>& targets,
                              const std::vector<int64_t>& cuts) {
  const int64_t columns = static_cast<int64_t>(logits.size()) / m;
  std::vector<ScoreState> states(static_cast<size_t>(m),
                                 ScoreState{9, 9, 9, 9, 1e30f});  // old state is ignored
  for (size_t i = 0; i < cuts.size(); ++i) {
    const int64_t end = i + 1 < cuts.size() ? cuts[i + 1] : columns;
    on.table.score({logits.data() + cuts[i], columns, m, cuts[i], end - cuts[i], targets.data(),
                    states.data()},
                   on.context);
  }
  return states;
}

TEST(Score, AgreesWithDoublePrecisionAndCutsChangeNoBit) {
  const TestContext context(2);
  for (const int64_t columns : {5, 256, 1000, 2048}) {
    const int64_t m = 7;
    Random random(static_cast<uint64_t>(columns));
    const std::vector<float> logits = random.normals(m * columns, 6.0f);
    std::vector<int32_t> targets;
    for (int64_t i = 0; i < m; ++i) targets.push_back(static_cast<int32_t>(random.below(columns)));
    test::for_each_isa([&](const KernelTable& table) {
      const auto states = score({table, context}, logits, m, targets, {0});
      for (int64_t i = 0; i < m; ++i) {
        const float* row = logits.data() + i * columns;
        const float* best = std::max_element(row, row + columns);
        double sum = 0;
        for (int64_t j = 0; j < columns; ++j) sum += std::exp(double{row[j]} - *best);
        const ScoreState& state = states[static_cast<size_t>(i)];
        EXPECT_EQ(state.max, *best);
        EXPECT_NEAR(state.sum, sum, 2e-6 * sum);
        EXPECT_EQ(state.best, best - row);
        EXPECT_EQ(state.best_logit, *best);
        EXPECT_EQ(state.target, row[targets[static_cast<size_t>(i)]]);
      }
      if (columns <= 512) return;
      const auto cut = score({table, context}, logits, m, targets, {0, 256, 768});
      EXPECT_EQ(std::memcmp(cut.data(), states.data(), cut.size() * sizeof(ScoreState)), 0);
    });
  }
}

TEST(Score, LowestIndexWinsAndForbiddenBlocksCountNothing) {
  const TestContext context(1);
  std::vector<float> logits(800, -INFINITY);
  logits[301] = logits[290] = logits[799] = 4.5f;
  test::for_each_isa([&](const KernelTable& table) {
    const ScoreState state = score({table, context}, logits, 1, {-1}, {0})[0];
    EXPECT_EQ(state.best, 290);
    EXPECT_EQ(state.max, 4.5f);
    EXPECT_EQ(state.sum, 3.0f);
    std::vector<float> bad = logits;
    bad[10] = NAN;
    EXPECT_TRUE(std::isnan(score({table, context}, bad, 1, {-1}, {0})[0].sum));
  });
}

}  // namespace
}  // namespace penstock
