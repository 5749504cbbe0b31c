#include "plan/pace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace penstock {
namespace {

// OPT-6.7B in bf16 from a disk of 1.3 GB/s: a sweep reads for 10 s, a token computes for 40 ms.
PaceInput large_job(double rows, double kv_tokens) {
  PaceInput input;
  input.rows = rows;
  input.prompt = input.fresh = 32;
  input.kv_tokens = kv_tokens;
  input.max_sequences = 4096;
  input.sweep_tokens = 32768;
  input.rates = {10.0, 0.04};
  return input;
}

TEST(Pace, RowsThatAllFitEnterAtOnce) {
  const PaceInput input = large_job(64, 64 * 64);
  EXPECT_EQ(best_pace(input), 32768);
  // 2048 prompt tokens at 40 ms, then 31 sweeps of the disk.
  EXPECT_NEAR(paced_seconds(input, input.sweep_tokens), 2048 * 0.04 + 31 * 10.0, 1.0);
}

TEST(Pace, RowsThatFitInWholePagesEnterAtOnce) {
  PaceInput input = large_job(64, 64 * 64);  // the last token is not stored: 63, four pages of 16
  input.page_tokens = 16;
  EXPECT_EQ(best_pace(input), 32768);
  input.kv_tokens -= 16;  // one row has to wait for another
  EXPECT_GT(paced_seconds(input, input.sweep_tokens), 2048 * 0.04 + 40 * 10.0);
}

TEST(Pace, SteadyEntryBeatsBlocksWhenSpaceIsShort) {
  const PaceInput input = large_job(2048, 150 * 64);
  const int64_t tokens = best_pace(input);
  EXPECT_LT(tokens, 2000);
  EXPECT_GE(2 * tokens, 250);  // with as many decoded, no less than what the disk's time pays for
  EXPECT_LT(paced_seconds(input, static_cast<double>(tokens)),
            0.85 * paced_seconds(input, input.sweep_tokens));
}

TEST(Pace, NothingToGainWithoutTransfersOrGeneration) {
  PaceInput resident = large_job(2048, 150 * 64);
  resident.rates.stream_seconds = 0;
  EXPECT_EQ(best_pace(resident), 32768);
  PaceInput scoring = large_job(2048, 150 * 64);
  scoring.fresh = 1;
  EXPECT_EQ(best_pace(scoring), 32768);
}

TEST(Pace, NothingToGainWhenDecodingIsBoundByCompute) {
  PaceInput input = large_job(1e6, 4000 * 64);
  input.rates = {1e-3, 0.04};
  EXPECT_EQ(best_pace(input), 32768);
}

// No pace is faster than all compute or the sweeps of one row, nor slower than both without
// overlap.
TEST(Pace, TimesStayWithinTheirBounds) {
  std::mt19937 random(5);
  const auto between = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  for (int i = 0; i < 200; ++i) {
    PaceInput input = large_job(std::floor(between(1, 300)), 0);
    input.prompt = std::floor(between(1, 200));
    input.fresh = std::floor(between(1, 200));
    input.kv_tokens = (input.prompt + input.fresh) * between(1, 400);
    input.sweep_tokens = between(64, 5000);
    input.rates = {between(0, 10), between(1e-3, 0.1)};
    const double limit = between(1, input.sweep_tokens);
    const double capacity = std::max(1.0, input.kv_tokens / (input.prompt + input.fresh / 2));
    const double rows = std::min(input.rows, 8 * capacity);
    const double compute = rows * (input.prompt + input.fresh - 1) * input.rates.token_seconds;
    const double seconds = paced_seconds(input, limit);
    EXPECT_GE(seconds * 1.0001, compute * 0.95);
    EXPECT_GE(seconds * 1.0001, input.fresh * input.rates.stream_seconds);
  }
}

}  // namespace
}  // namespace penstock
