#include "base/checked.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "base/error.h"

namespace penstock {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

template <class F>
std::string overflow_text(F f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::malformed);
    return error.what();
  }
  return "no error";
}

TEST(Checked, AddUpToTheLimit) {
  EXPECT_EQ(checked_add(kMax - 5, 5, "sum"), kMax);
  EXPECT_EQ(checked_add(kMin, kMax, "sum"), -1);
  EXPECT_EQ(overflow_text([] { checked_add(kMax, 1, "the sum"); }),
            "the sum overflows 64 bits (found 9223372036854775807 + 1)");
  EXPECT_NE(overflow_text([] { checked_add(kMin, -1, "low"); }), "no error");
}

TEST(Checked, MultiplyUpToTheLimit) {
  EXPECT_EQ(checked_mul(int64_t{1} << 31, int64_t{1} << 31, "product"), int64_t{1} << 62);
  EXPECT_EQ(checked_mul(0, kMin, "product"), 0);
  EXPECT_NE(overflow_text([] { checked_mul(int64_t{1} << 32, int64_t{1} << 31, "p"); }),
            "no error");
  EXPECT_NE(overflow_text([] { checked_mul(kMin, -1, "p"); }), "no error");
}

TEST(Checked, Rounding) {
  EXPECT_EQ(round_up(4097, 4096), 8192);
  EXPECT_EQ(round_up(4096, 4096), 4096);
  EXPECT_EQ(round_down(8191, 4096), 4096);
  EXPECT_EQ(ceil_div(17, 16), 2);
  EXPECT_EQ(ceil_div(0, 16), 0);
}

}  // namespace
}  // namespace penstock
