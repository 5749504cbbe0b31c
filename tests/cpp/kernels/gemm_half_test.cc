// Weights of 16 bits by inputs of 16 bits: the CUDA kernel for it, in the emulator or on the GPU
// that is the test device.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "kernels/cuda/gemm_half.h"
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

// What the kernel multiplies.
struct Pair {
  const char* weights;
  InputKind inputs;
};
constexpr Pair kPairs[] = {
    {"fp16", InputKind::f16}, {"bf16", InputKind::bf16}, {"bf16", InputKind::f16}};

// Panels whose rows, of whole 16 bytes, are aligned to 16 bytes: those of Weight never are.
class AlignedPanels {
 public:
  AlignedPanels(const Weight& weight, const std::vector<WeightPanel>& panels) : panels(panels) {
    for (WeightPanel& panel : this->panels) {
      const int64_t bytes = (panel.row_end - panel.row_begin) * weight.k() * 2;
      rows_.push_back(std::make_unique<test::AlignedBytes>(bytes));
      std::memcpy(rows_.back()->data(), panel.data, static_cast<size_t>(bytes));
      panel.data = rows_.back()->data();
    }
  }
  std::vector<WeightPanel> panels;

 private:
  std::vector<std::unique_ptr<test::AlignedBytes>> rows_;
};

class GemmHalf : public testing::Test {
 protected:
  template <class F>
  static void for_each_pair(F f) {
    for (const Pair& pair : kPairs) {
      SCOPED_TRACE(std::string(pair.weights) + (pair.inputs == InputKind::f16 ? " by fp16" : ""));
      f(pair, weight_format(pair.weights));
    }
  }
  Inputs prepared(const Pair& pair, int64_t k, const std::vector<float>& x) const {
    return {on_.table, prepared_layout(pair.inputs, k, 0), x, context_};
  }
  // Products of the weights and rows [first, first + m) of x.
  struct Rows {
    const Pair& pair;
    const Weight& weight;
    const std::vector<float>& x;
  };
  std::vector<float> rows(const Rows& of, int64_t first, int64_t m,
                          const std::vector<WeightPanel>& panels) const {
    const int64_t k = of.weight.k();
    const std::vector<float> part(of.x.begin() + first * k, of.x.begin() + (first + m) * k);
    return multiply(on_, of.weight, prepared(of.pair, k, part), panels, {});
  }

  const TestContext context_{2};
  const test::Kernels on_{test::cuda_kernel_table(), context_};
};

TEST_F(GemmHalf, AgreesWithDoublePrecision) {
  for (const Shape shape : {Shape{1, 16, 128},
                            {3, 40, 72},
                            {5, 7, 1},
                            {17, 33, 261},
                            {9, 300, 1030},
                            {70, 50, 600},
                            {33, 129, 96},
                            {140, 31, 328},
                            {2, 5, 4104}}) {
    SCOPED_TRACE(testing::Message() << shape.m << "x" << shape.n << "x" << shape.k);
    Random random(7 + static_cast<uint64_t>(shape.k));
    const std::vector<float> x = random.normals(shape.m * shape.k);
    const Epilogue epilogue{random.normals(shape.n), random.normals(shape.m * shape.n), Act::silu};
    for_each_pair([&](const Pair& pair, FormatId id) {
      Weight weight(id, shape.n, shape.k, 11);
      const auto panels = weight.panels({0});
      const Inputs inputs = prepared(pair, shape.k, x);
      const std::vector<float> y = multiply(on_, weight, inputs, panels, epilogue);
      expect_close(weight, inputs, y, epilogue);
      const AlignedPanels aligned(weight, panels);
      EXPECT_EQ(multiply(on_, weight, inputs, aligned.panels, epilogue), y);
    });
  }
}

// Across every tile, full and not.
TEST_F(GemmHalf, AnyNumberOfInputRows) {
  const int64_t k = 200, n = 24;
  for_each_pair([&](const Pair& pair, FormatId id) {
    Weight weight(id, n, k, 3);
    const AlignedPanels aligned(weight, weight.panels({0}));
    const std::vector<float> x = Random(5).normals(270 * k);
    const Rows of{pair, weight, x};
    const std::vector<float> expected = rows(of, 0, 270, aligned.panels);
    expect_close(weight, prepared(pair, k, x), expected, {});
    for (int64_t m = 1; m < 270; m += m < 70 ? 3 : 29) {
      const int64_t first = m * 7 % (270 - m);
      const std::vector<float> y = rows(of, first, m, aligned.panels);
      test::expect_same_bits(y.data(), expected.data() + first * n, m * n, "rows");
    }
  });
}

// Two stripes of K: one block goes through both, or few rows have a block for each.
TEST_F(GemmHalf, RowsDoNotSeeOtherRowsPanelsNorStripes) {
  const Shape shape{140, 150, 1100};
  constexpr int64_t kRoom = int64_t{192} << 10;  // the emulator's workspace
  ASSERT_EQ(cuda::k_stripes(shape.k).count, 2);
  ASSERT_FALSE(cuda::half_plan({shape.m, shape.k, 2}, kRoom).split);
  ASSERT_TRUE(cuda::half_plan({33, shape.k, 3}, kRoom).split);
  const std::vector<float> x = Random(23).normals(shape.m * shape.k);
  for_each_pair([&](const Pair& pair, FormatId id) {
    Weight weight(id, shape.n, shape.k, 29);
    const auto whole = weight.panels({0}), cut = weight.panels({0, 5, 140});
    const AlignedPanels some(weight, {cut[1], cut[2]});
    const Rows of{pair, weight, x};
    const std::vector<float> expected = rows(of, 0, shape.m, whole);
    for (const auto& [first, m] : {std::pair<int64_t, int64_t>{139, 1}, {3, 9}, {20, 33}}) {
      const std::vector<float> y = rows(of, first, m, {cut[0], some.panels[0], some.panels[1]});
      test::expect_same_bits(y.data(), expected.data() + first * shape.n, m * shape.n, "rows");
    }
  });
}

TEST_F(GemmHalf, ResidualMayBeTheOutputAndColumnsMayBeShifted) {
  for (const int64_t k : {300, 1100}) {  // one stripe, and two in blocks of their own
    for_each_pair([&](const Pair& pair, FormatId id) {
      Random random(47);
      Weight weight(id, 48, k, 53);
      const Inputs inputs = prepared(pair, k, random.normals(9 * k, 1e-4f));
      const Epilogue epilogue{random.normals(48), random.normals(9 * 48), Act::gelu};
      test::expect_in_place_and_shifted(weight, inputs, weight.panels({0, 16}), epilogue,
                                        [&](const GemmParams& p) { on_.table.gemm(p, context_); });
    });
  }
}

TEST_F(GemmHalf, ANanStaysInItsRow) {
  for_each_pair([&](const Pair& pair, FormatId id) {
    Weight weight(id, 40, 200, 59);
    const auto panels = weight.panels({0});
    test::expect_bad_inputs_stay({5, 40, 200}, [&](const std::vector<float>& x) {
      return rows({pair, weight, x}, 0, 5, panels);
    });
  });
}

// The same row at several magnitudes, around 1e6 and 1e-6 among them: with fp16 inputs, products
// are those of the row itself times the same power of two, and are as near the exact ones.
TEST_F(GemmHalf, RowsOfAnyMagnitude) {
  const int64_t n = 20, k = 1100;
  const int powers[] = {0, 20, -20, 90, -90};
  for_each_pair([&](const Pair& pair, FormatId id) {
    Weight weight(id, n, k, 67);
    const auto panels = weight.panels({0});
    const std::vector<float> row = Random(71).normals(k);
    std::vector<float> x;
    for (const int power : powers) {
      for (const float value : row) x.push_back(std::ldexp(value, power));
    }
    const std::vector<float> y = rows({pair, weight, x}, 0, 5, panels);
    // Half a unit in the last place of 11 or 8 bits.
    const double error = pair.inputs == InputKind::f16 ? 0x1p-12 : 0x1p-9;
    for (int64_t j = 0; j < n; ++j) {
      const test::Dot dot = test::dot_reference({row.begin(), row.end()}, weight.row(j));
      ASSERT_NEAR(y[static_cast<size_t>(j)], dot.value, error * dot.magnitude);
      for (int64_t i = 1; i < 5; ++i) {
        ASSERT_EQ(y[static_cast<size_t>(i * n + j)],
                  std::ldexp(y[static_cast<size_t>(j)], powers[i]));
      }
    }
  });
}

// An input row of one 1 picks a column of the weight, exactly.
TEST_F(GemmHalf, EveryWeightIsExact) {
  const int64_t n = 130, k = 136;
  std::vector<float> x(static_cast<size_t>(k * k), 0.0f);
  for (int64_t i = 0; i < k; ++i) x[static_cast<size_t>(i * k + i)] = 1.0f;
  for (const Pair& pair : {kPairs[0], kPairs[1]}) {
    Weight weight(weight_format(pair.weights), n, k, 73);
    const AlignedPanels aligned(weight, weight.panels({0}));
    const std::vector<float> y = rows({pair, weight, x}, 0, k, aligned.panels);
    for (int64_t j = 0; j < n; ++j) {
      const std::vector<double> expected = weight.row(j);
      for (int64_t i = 0; i < k; ++i) {
        ASSERT_EQ(y[static_cast<size_t>(i * n + j)], expected[static_cast<size_t>(i)]);
      }
    }
  }
}

// bf16 weights become fp16 numbers: what is too large becomes the largest one, NaN stays.
TEST_F(GemmHalf, Bf16WeightsBeyondFp16Saturate) {
  const float values[] = {1.5f,      -0.15625f, 65280.0f,   65536.0f, -1e6f, INFINITY,
                          -INFINITY, 0x1p-17f,  0x1.8p-24f, 0x1p-26f, NAN};
  constexpr size_t kCount = std::size(values);
  std::vector<uint16_t> stored(kCount * 8, 0);
  std::vector<float> x(8, 0.0f);
  for (size_t i = 0; i < kCount; ++i) stored[i * 8 + 5] = bf16_from_float(values[i]);
  x[5] = 0.5f;
  const WeightPanel panel{static_cast<const std::byte*>(static_cast<const void*>(stored.data())), 0,
                          kCount};
  const Inputs inputs = prepared(kPairs[2], 8, x);
  float y[kCount];
  GemmParams p;
  p.panels = &panel;
  p.panel_count = 1;
  p.format = weight_format("bf16");
  p.x = inputs.data.data();
  p.input = inputs.layout;
  p.m = 1;
  p.k = 8;
  p.y = y;
  p.y_stride = kCount;
  on_.table.gemm(p, context_);
  const float expected[] = {0.75f,    -0.078125f, 32640.0f, 32752.0f, -32752.0f,
                            32752.0f, -32752.0f,  0x1p-18f, 0x1p-24f, 0.0f};
  for (size_t i = 0; i < std::size(expected); ++i) EXPECT_EQ(y[i], expected[i]) << values[i];
  EXPECT_TRUE(std::isnan(y[kCount - 1]));
}

// Two stages, of copies that are not asynchronous there, and the same bits.
TEST_F(GemmHalf, TuringHasTheSameBits) {
  for (const Shape shape : {Shape{3, 40, 1100}, {20, 33, 261}, {50, 20, 264}, {140, 31, 328}}) {
    for (const Pair& pair : {kPairs[0], kPairs[2]}) {
      Weight weight(weight_format(pair.weights), shape.n, shape.k, 83);
      const AlignedPanels aligned(weight, weight.panels({0}));
      const Inputs inputs = prepared(pair, shape.k, Random(89).normals(shape.m * shape.k));
      const std::vector<float> expected =
          multiply({test::emulated_cuda_table(), context_}, weight, inputs, aligned.panels, {});
      std::vector<float> y(expected.size(), NAN);
      GemmParams p = test::gemm_params(weight, inputs, aligned.panels, {});
      p.y = y.data();
      p.y_stride = shape.n;
      test::emulated_turing_table().gemm(p, context_);
      EXPECT_EQ(y, expected);
    }
  }
}

}  // namespace
}  // namespace penstock
