// Random weights: the same for the same seed, tensor and row, in whatever pieces they are read.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "store/row_source.h"

namespace penstock {
namespace {

WeightInfo matrix(int id, int64_t rows, int64_t cols) {
  WeightInfo info;
  info.id = id;
  info.kind = WeightKind::matrix;
  info.rows = rows;
  info.cols = cols;
  return info;
}

std::vector<float> floats(const RowSource& source, const WeightInfo& info, int64_t begin,
                          int64_t end) {
  std::vector<float> values(static_cast<size_t>((end - begin) * info.cols), NAN);
  source.read_floats(info, begin, end, values.data());
  return values;
}

TEST(RandomSource, ARowIsTheSameInAnyPiece) {
  const WeightInfo info = matrix(4, 30, 300007);  // longer than what the rows are windows on
  const auto source = make_random_source(DType::bf16, 9);
  const std::vector<float> whole = floats(*source, info, 0, 3);
  for (int64_t row = 0; row < 3; ++row) {
    const std::vector<float> alone = floats(*source, info, row, row + 1);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), whole.begin() + row * info.cols)) << row;
  }
  EXPECT_EQ(floats(*make_random_source(DType::bf16, 9), info, 0, 3), whole);
}

TEST(RandomSource, SeedsTensorsAndRowsDiffer) {
  std::set<std::vector<float>> seen;
  for (const uint64_t seed : {1, 2}) {
    const auto source = make_random_source(DType::f32, seed);
    for (const int id : {0, 1}) {
      for (int64_t row = 0; row < 20; ++row) {
        seen.insert(floats(*source, matrix(id, 20, 50), row, row + 1));
      }
    }
  }
  EXPECT_EQ(seen.size(), 80u);
}

TEST(RandomSource, MatricesLieAroundZeroAndNormsAroundOne) {
  const auto source = make_random_source(DType::f16, 3);
  const auto spread = [](const std::vector<float>& values, double centre) {
    double squares = 0;
    for (const float value : values) squares += (value - centre) * (value - centre);
    return std::sqrt(squares / static_cast<double>(values.size()));
  };
  EXPECT_NEAR(spread(floats(*source, matrix(2, 64, 500), 0, 64), 0), 0.02, 0.001);
  WeightInfo norm = matrix(3, 1, 5000);
  norm.kind = WeightKind::vector;
  EXPECT_NEAR(spread(floats(*source, norm, 0, 1), 1), 0.0115, 0.001);
  norm.bias = true;
  EXPECT_NEAR(spread(floats(*source, norm, 0, 1), 0), 0.0115, 0.001);
}

}  // namespace
}  // namespace penstock
