// Quantised weights by int8 inputs: the CUDA kernel for it in all its cuts, in the emulator,
// against sums made of exact dot products. gemm_test.cc has what holds for every instruction set.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/gemm_cases.h"

namespace penstock {
namespace {

using cuda::CodesPlan;
using test::Epilogue;
using test::expect_exact;
using test::Inputs;
using test::Random;
using test::Shape;
using test::TestContext;
using test::Weight;

constexpr CodesPlan kNarrow{.tiles = 2, .wide = false, .rows = 64, .stages = 3};
constexpr CodesPlan kWide{.tiles = 8, .wide = true, .rows = 128, .stages = 2};

class GemmCodes : public testing::Test {
 protected:
  Inputs prepared(const QuantFormat& format, int64_t k, const std::vector<float>& x) const {
    return {table_, prepared_layout_for(format, k, Compute::fast), x, context_};
  }
  static std::vector<float> multiply(const CodesPlan& plan, GemmParams p, const WeightView& view,
                                     int64_t n) {
    std::vector<float> y(static_cast<size_t>(p.m * n), NAN);
    p.y = y.data();
    p.y_stride = n;
    test::emulate_codes(p, view, plan);
    return y;
  }

  const TestContext context_{1};
  const KernelTable& table_ = test::emulated_cuda_table();
};

constexpr CodesPlan sliced(int slices, int stages) {
  return {.tiles = 1, .rows = 32, .stages = stages, .slices = slices};
}

// Panels that end inside a block, input rows that do, more steps than stages and fewer.
TEST_F(GemmCodes, EveryPlanHasTheBitsOfTheFormats) {
  struct Case {
    CodesPlan plan;
    Shape shape;
    const char *eight, *four;
  };
  for (const Case& c : {Case{{1, false, 32, 8}, {3, 50, 1300}, "int8-g64", "int4-g32"},
                        {{1, false, 128, 4}, {9, 150, 600}, "int8", "int4-g128"},
                        {{2, false, 64, 3}, {17, 100, 500}, "int8-g32", "int4-g64"},
                        {{4, false, 32, 4}, {40, 70, 200}, "int8-g128", "int4-g32"},
                        {{8, false, 64, 2}, {70, 70, 450}, "int8-g32", "int4-g128"},
                        {{8, false, 128, 3}, {64, 160, 300}, "int8", "int4-g64"},
                        {{8, true, 64, 4}, {128, 70, 300}, "int8-g64", "int4-g32"},
                        {{8, true, 128, 2}, {70, 150, 450}, "int8-g32", "int4-g64"},
                        {{8, true, 256, 3}, {140, 330, 300}, "int8", "int4-g128"},
                        {sliced(8, 2), {8, 70, 4200}, "int8-g32", "int4-g32"},
                        {sliced(8, 4), {1, 50, 1100}, "int8-g128", "int4-g64"},
                        {sliced(8, 3), {5, 20, 300}, "int8", "int4-g32"},  // warps without a step
                        {sliced(4, 3), {7, 50, 2500}, "int8-g64", "int4-g128"},
                        {sliced(2, 8), {8, 40, 1500}, "int8", "int4-g64"}}) {
    SCOPED_TRACE(testing::Message() << c.plan.inputs() << " inputs by " << c.plan.rows);
    for (const char* name : {c.eight, c.four}) {
      SCOPED_TRACE(name);
      const QuantFormat& of = format(weight_format(name));
      Weight weight(of, c.shape.n, c.shape.k, 5);
      const Inputs inputs = prepared(of, c.shape.k, Random(7).normals(c.shape.m * c.shape.k));
      const auto panels = weight.panels({0, 16});
      const GemmParams p = test::gemm_params(weight, inputs, panels, {});
      expect_exact(weight, inputs,
                   multiply(c.plan, p, test::view_of(of, weight.layout()), c.shape.n), true);
    }
  }
}

TEST_F(GemmCodes, AnyNumberOfInputRows) {
  const int64_t n = 40, k = 260, most = 200;
  const QuantFormat& of = format(weight_format("int4-g64"));
  Weight weight(of, n, k, 3);
  const auto panels = weight.panels({0});
  const WeightView view = test::view_of(of, weight.layout());
  const Inputs all = prepared(of, k, Random(5).normals(most * k));
  GemmParams p = test::gemm_params(weight, all, panels, {});
  const std::vector<float> expected = multiply(kNarrow, p, view, n);
  expect_exact(weight, all, expected, true);
  for (int64_t m = 1; m < most; m += m < 20 ? 1 : 7) {
    const int64_t first = m * 7 % (most - m);
    p.m = m;
    p.x = all.data.data() + first * all.layout.stride_bytes;
    for (const CodesPlan& plan : {kNarrow, kWide, sliced(2, 2)}) {
      const std::vector<float> y = multiply(plan, p, view, n);
      test::expect_same_bits(y.data(), expected.data() + first * n, m * n, "rows");
    }
  }
}

// Also what no format of the table is: 4 bits without zero points, one scale a row, and blocks of
// inputs that are smaller than groups.
TEST_F(GemmCodes, EveryWidthGroupOffsetAndBlock) {
  const int64_t m = 5, n = 20, k = 450;
  const std::vector<float> x = Random(67).normals(m * k);
  for (const auto& [bits, offset] :
       {std::pair{8, Offset::midpoint}, {4, Offset::midpoint}, {4, Offset::integer}}) {
    for (const int group : {0, 32, 64, 128}) {
      const QuantFormat of{
          .name = "any", .code = Code::uint, .bits = bits, .group = group, .offset = offset};
      Weight weight(of, n, k, 71);
      const auto panels = weight.panels({0});
      for (const int64_t block : {32, 64, 128}) {
        if (group != 0 && block > group) continue;
        SCOPED_TRACE(testing::Message() << bits << " bits, groups of " << group << ", blocks of "
                                        << block << ", offset " << static_cast<int>(offset));
        const Inputs inputs(table_, prepared_layout(InputKind::int8, k, block), x, context_);
        const GemmParams p = test::gemm_params(weight, inputs, panels, {});
        for (const CodesPlan& plan : {kNarrow, kWide, sliced(2, 2), sliced(4, 3)}) {
          expect_exact(weight, inputs, multiply(plan, p, test::view_of(of, weight.layout()), n),
                       true);
        }
      }
    }
  }
}

// The largest sums that codes can have, of both signs, do not leave the 23 bits of a number.
TEST_F(GemmCodes, TheLargestDotProductsAreExact) {
  struct Case {
    const char* name;
    int code, zero;  // 8 bits: of no tile, the middle
  };
  const int64_t k = 128;
  for (const Case& c :
       {Case{"int8", 0, 128}, {"int8", 255, 128}, {"int4-g128", 0, 15}, {"int4-g128", 15, 0}}) {
    const QuantFormat& of = format(weight_format(c.name));
    Weight weight(of, 16, k, 79);
    auto panels = weight.panels({0});
    const PackedLayout& layout = weight.layout();
    test::AlignedBytes tile(layout.tile_bytes);
    std::memcpy(tile.data(), panels[0].data, tile.size());
    const auto codes = static_cast<size_t>(layout.tile_bytes - layout.codes_offset);
    std::memset(tile.data() + layout.codes_offset, of.bits == 8 ? c.code : c.code * 17, codes);
    if (of.bits == 4) std::memset(tile.data() + layout.zeros_offset, c.zero, kTileRows);
    panels[0].data = tile.data();
    std::vector<float> x(2 * k, 1.0f);  // codes of 127, then of -127
    for (size_t i = k; i < 2 * k; ++i) x[i] = -1.0f;
    const Inputs inputs = prepared(of, k, x);
    const GemmParams p = test::gemm_params(weight, inputs, panels, {});
    const WeightView view = test::view_of(of, layout);
    const std::vector<float> y = multiply(kNarrow, p, view, 16);
    EXPECT_EQ(multiply(sliced(2, 2), p, view, 16), y);
    const float factor =
        load_as_float(inputs.data.data() + inputs.layout.scales_offset, DType::f32, 0);
    for (int64_t n = 0; n < 16; ++n) {
      const auto dot = static_cast<float>((c.code - c.zero) * 127 * static_cast<int>(k));
      const float expected = factor * weight.scale(n, 0) * dot;
      EXPECT_EQ(y[static_cast<size_t>(n)], expected);
      EXPECT_EQ(y[static_cast<size_t>(16 + n)], -expected);
    }
  }
}

TEST_F(GemmCodes, ANanStaysInItsRow) {
  const Shape shape{70, 40, 200};
  for (const char* name : {"int8", "int8-g32", "int4-g64"}) {
    const QuantFormat& of = format(weight_format(name));
    Weight weight(of, shape.n, shape.k, 59);
    const auto panels = weight.panels({0});
    const WeightView view = test::view_of(of, weight.layout());
    for (const CodesPlan& plan : {kNarrow, kWide, sliced(2, 3)}) {
      test::expect_bad_inputs_stay(shape, [&](const std::vector<float>& x) {
        const Inputs inputs = prepared(of, shape.k, x);
        return multiply(plan, test::gemm_params(weight, inputs, panels, {}), view, shape.n);
      });
    }
  }
}

TEST_F(GemmCodes, ResidualMayBeTheOutputAndColumnsMayBeShifted) {
  const int64_t m = 70, n = 48, k = 300;
  Random random(47);
  Weight weight(weight_format("int4-g32"), n, k, 53);
  const QuantFormat& of = format(weight.id());
  const WeightView view = test::view_of(of, weight.layout());
  const Inputs inputs = prepared(of, k, random.normals(m * k));
  const Epilogue epilogue{random.normals(n), random.normals(m * n), Act::gelu};
  for (const CodesPlan& plan : {kNarrow, kWide, sliced(2, 2)}) {
    test::expect_in_place_and_shifted(
        weight, inputs, weight.panels({0, 16}), epilogue,
        [&](const GemmParams& p) { test::emulate_codes(p, view, plan); });
  }
}

}  // namespace
}  // namespace penstock
