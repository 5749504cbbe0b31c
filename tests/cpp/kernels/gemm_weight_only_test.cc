// Quantised weights by bf16 inputs: the CUDA kernel for it, in the emulator or on the GPU that is
// the test device.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cuda/weight_only.h"
#include "kernels/gemm_cases.h"

namespace penstock {
namespace {

using test::Epilogue;
using test::expect_close;
using test::Inputs;
using test::multiply;
using test::Random;
using test::Shape;
using test::TestContext;
using test::Weight;

class GemmWeightOnly : public testing::Test {
 protected:
  template <class F>
  static void for_each_format(F f) {
    for (size_t id = 0; id < format_table().size(); ++id) {
      if (!format_table()[id].for_weights || !format_table()[id].quantised()) continue;
      SCOPED_TRACE(std::string(format_table()[id].name));
      f(static_cast<FormatId>(id));
    }
  }
  Inputs prepared(const Weight& weight, const std::vector<float>& x) const {
    return {on_.table, prepared_layout(InputKind::bf16, weight.k(), 0), x, context_};
  }
  // Of rows [first, first + m) of x.
  std::vector<float> rows(const Weight& weight, const std::vector<float>& x, int64_t first,
                          int64_t m, const std::vector<WeightPanel>& panels) const {
    const std::vector<float> part(x.begin() + first * weight.k(),
                                  x.begin() + (first + m) * weight.k());
    return multiply(on_, weight, prepared(weight, part), panels, {});
  }

  const TestContext context_{2};
  const test::Kernels on_{test::cuda_kernel_table(), context_};
};

TEST_F(GemmWeightOnly, AgreesWithDoublePrecision) {
  for (const Shape shape : {Shape{1, 16, 128},
                            {3, 40, 72},
                            {5, 7, 1},
                            {17, 33, 261},
                            {9, 300, 1030},
                            {70, 50, 600},
                            {33, 129, 96},
                            {4, 31, 2100},
                            {2, 5, 5000}}) {
    SCOPED_TRACE(testing::Message() << shape.m << "x" << shape.n << "x" << shape.k);
    Random random(7 + static_cast<uint64_t>(shape.k));
    const std::vector<float> x = random.normals(shape.m * shape.k);
    const Epilogue epilogue{random.normals(shape.n), random.normals(shape.m * shape.n), Act::silu};
    for_each_format([&](FormatId id) {
      Weight weight(id, shape.n, shape.k, 11);
      const Inputs inputs = prepared(weight, x);
      expect_close(weight, inputs, multiply(on_, weight, inputs, weight.panels({0}), epilogue),
                   epilogue);
    });
  }
}

TEST_F(GemmWeightOnly, AnyNumberOfInputRows) {
  Weight weight(weight_format("int4-g64"), 24, 200, 3);
  const auto panels = weight.panels({0});
  const std::vector<float> x = Random(5).normals(130 * 200);
  const Inputs all = prepared(weight, x);
  const std::vector<float> expected = multiply(on_, weight, all, panels, {});
  expect_close(weight, all, expected, {});
  for (int64_t m = 1; m < 130; ++m) {
    const int64_t first = m * 7 % (130 - m);
    const std::vector<float> y = rows(weight, x, first, m, panels);
    test::expect_same_bits(y.data(), expected.data() + first * 24, m * 24, "rows");
  }
}

// Several stripes of K, in blocks of their own for few rows.
TEST_F(GemmWeightOnly, RowsDoNotSeeOtherRowsNorPanels) {
  const Shape shape{70, 150, 1100};
  const std::vector<float> x = Random(23).normals(shape.m * shape.k);
  for_each_format([&](FormatId id) {
    Weight weight(id, shape.n, shape.k, 29);
    const auto whole = weight.panels({0}), cut = weight.panels({0, 16, 64, 80});
    const std::vector<float> expected = rows(weight, x, 0, shape.m, whole);
    EXPECT_EQ(rows(weight, x, 0, shape.m, cut), expected);
    for (const auto& [first, m] : {std::pair<int64_t, int64_t>{69, 1}, {3, 9}, {20, 33}}) {
      const std::vector<float> y = rows(weight, x, first, m, cut);
      test::expect_same_bits(y.data(), expected.data() + first * shape.n, m * shape.n, "rows");
    }
  });
}

// Enough rows of weights for one block to go through all stripes, and a single panel of them that
// has a block for each.
TEST_F(GemmWeightOnly, ABlockForEachStripeGivesTheSameBits) {
  const int64_t n = 132 * cuda::kStripedRows, k = 1088, panel = 48;
  const auto row_blocks = cuda::blocks_of(n, cuda::kStripedRows);
  constexpr int64_t kRoom = int64_t{64} << 10;  // of the emulator's workspace and more
  ASSERT_FALSE(cuda::weight_only_plan({2, k, row_blocks}, kRoom).split);
  ASSERT_TRUE(cuda::weight_only_plan({2, k, 1}, kRoom).split);
  ASSERT_EQ(cuda::k_stripes(k).count, 2);
  for (const std::string_view name : {"int4-g128", "int8-g32"}) {
    Weight weight(weight_format(name), n, k, 41);
    const auto panels = weight.panels({0, panel});
    const std::vector<float> x = Random(43).normals(2 * k);
    const std::vector<float> whole = rows(weight, x, 0, 2, panels);
    const std::vector<float> part = rows(weight, x, 0, 2, {panels[0]});
    for (int64_t i = 0; i < 2; ++i) {
      test::expect_same_bits(part.data() + i * n, whole.data() + i * n, panel, "row");
    }
  }
}

TEST_F(GemmWeightOnly, ResidualMayBeTheOutputAndColumnsMayBeShifted) {
  for (const int64_t k : {300, 1100}) {  // one stripe, and two in blocks of their own
    Random random(47);
    Weight weight(weight_format("int4-g32"), 48, k, 53);
    const Inputs inputs = prepared(weight, random.normals(9 * k));
    const Epilogue epilogue{random.normals(48), random.normals(9 * 48), Act::gelu};
    test::expect_in_place_and_shifted(weight, inputs, weight.panels({0, 16}), epilogue,
                                      [&](const GemmParams& p) { on_.table.gemm(p, context_); });
  }
}

TEST_F(GemmWeightOnly, ANanStaysInItsRow) {
  for_each_format([&](FormatId id) {
    Weight weight(id, 40, 200, 59);
    const auto panels = weight.panels({0});
    test::expect_bad_inputs_stay(
        {5, 40, 200}, [&](const std::vector<float>& x) { return rows(weight, x, 0, 5, panels); });
  });
}

// The kernel takes more than the table of formats has: both widths with and without zero points,
// every group.
TEST_F(GemmWeightOnly, EveryWidthGroupAndOffset) {
  const int64_t m = 3, n = 20, k = 450;
  const std::vector<float> x = Random(67).normals(m * k);
  for (const int bits : {4, 8}) {
    for (const int group : {0, 32, 64, 128}) {
      for (const Offset offset : {Offset::midpoint, Offset::integer}) {
        SCOPED_TRACE(testing::Message() << bits << " bits, groups of " << group << ", offset "
                                        << static_cast<int>(offset));
        const QuantFormat format{
            .name = "any", .code = Code::uint, .bits = bits, .group = group, .offset = offset};
        Weight weight(format, n, k, 71);
        const auto panels = weight.panels({0});
        const Inputs inputs = prepared(weight, x);
        GemmParams p = test::gemm_params(weight, inputs, panels, {});
        std::vector<float> y(static_cast<size_t>(m * n), NAN);
        p.y = y.data();
        p.y_stride = n;
        test::emulate_weight_only(p, test::view_of(format, weight.layout()));
        expect_close(weight, inputs, y, {});
      }
    }
  }
}

// With 72 k in groups of 32, the second step has a group behind the last one. What lies there, zero
// points of 255, would be a scale of NaN.
TEST_F(GemmWeightOnly, NothingIsScaledByWhatIsBehindTheLastGroup) {
  const QuantFormat format{
      .name = "any", .code = Code::uint, .bits = 8, .group = 32, .offset = Offset::integer};
  Weight weight(format, 16, 72, 79);
  auto panels = weight.panels({0});
  const PackedLayout& layout = weight.layout();
  ASSERT_EQ(layout.groups, 3);
  test::AlignedBytes tile(layout.tile_bytes);
  std::memcpy(tile.data(), panels[0].data, tile.size());
  std::memset(tile.data() + layout.zeros_offset, 0xff, size_t{3 * kTileRows});
  panels[0].data = tile.data();
  const Inputs inputs = prepared(weight, Random(83).normals(72));
  GemmParams p = test::gemm_params(weight, inputs, panels, {});
  std::vector<float> y(16, NAN);
  p.y = y.data();
  p.y_stride = 16;
  test::emulate_weight_only(p, test::view_of(format, layout));
  for (const float value : y) EXPECT_TRUE(std::isfinite(value));
}

// An input row of one 1 picks a column of the weight: scale * (code - zero), exactly.
TEST_F(GemmWeightOnly, EveryCodeIsExact) {
  for_each_format([&](FormatId id) {
    Weight weight(id, 64, 160, 73);
    const auto panels = weight.panels({0});
    std::vector<float> x(160 * 160, 0.0f);
    for (size_t k = 0; k < 160; ++k) x[k * 160 + k] = 1.0f;  // row k picks column k
    const std::vector<float> y = rows(weight, x, 0, 160, panels);
    for (int64_t n = 0; n < 64; ++n) {
      const std::vector<double> expected = weight.row(n);
      for (int64_t k = 0; k < 160; ++k) {
        ASSERT_EQ(y[static_cast<size_t>(k * 64 + n)], expected[static_cast<size_t>(k)]);
      }
    }
  });
}

}  // namespace
}  // namespace penstock
