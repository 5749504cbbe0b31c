// Whole sweeps: no more in flight than the policy says, results of the one that was finished last,
// and the same results from every sweep that does the same.
#include "engine/executor.h"

#include <cmath>

#include "base/error.h"
#include "engine/executor_bench.h"

namespace penstock {
namespace {

class ExecutorTest : public testing::ExecutorBench {
 protected:
  SweepWork work() const { return {plan_, shapes_, schedule_}; }
};

TEST_F(ExecutorTest, OneSweepAtATimeWhereThePolicySaysSo) {
  Executor executor(executor_parts_);
  EXPECT_THROW(executor.finish(), Error) << "nothing was started";
  EXPECT_THROW(executor.token(0), Error) << "nothing is over";
  executor.start(work());
  EXPECT_THROW(executor.start(work()), Error);
  executor.finish();
  EXPECT_THROW(executor.finish(), Error);
}

// Six prompts whose last token is the 20th: each gives a token.
TEST_F(ExecutorTest, ASweepGivesATokenToEachThatWantsOne) {
  ASSERT_EQ(plan_.chosen_rows, 6);
  Executor executor(executor_parts_);
  executor.start(work());
  executor.finish();
  std::vector<int32_t> tokens;
  for (int row = 0; row < 6; ++row) {
    tokens.push_back(executor.token(row));
    EXPECT_GE(tokens.back(), 0);
    EXPECT_LT(tokens.back(), executor_parts_.spec->vocab);
  }
  // The same prompts once more, by a schedule that goes on from the first one.
  const ExecutorParts& p = executor_parts_;
  const SweepShaper shaper({p.spec, p.weights, p.memory, p.policy, true});
  BuildOptions options = shaper.build_options();
  options.last_sweep = true;
  const Built again = build_sweep(p.memory->weights.visits, *p.program, shapes_, options, carry_);
  executor.start({plan_, shapes_, again.schedule});
  executor.finish();
  for (int row = 0; row < 6; ++row) EXPECT_EQ(executor.token(row), tokens[row]);
}

}  // namespace
}  // namespace penstock
