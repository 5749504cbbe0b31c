#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/kernels.h"
#include "support/reference.h"

namespace penstock {
namespace {

using test::Random;
using test::TestContext;

TEST(Embed, AddsPositionsInEveryType) {
  const TestContext context(2);
  const int64_t m = 9, dim = 45;
  const std::vector<float> values = Random(1).normals(2 * m * dim);
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    SCOPED_TRACE(std::string(dtype_name(dtype)));
    std::vector<std::byte> rows(static_cast<size_t>(m * dim * dtype_bytes(dtype)));
    std::vector<std::byte> add(rows.size());
    for (int64_t i = 0; i < m * dim; ++i) {
      store_from_float(rows.data(), dtype, i, values[static_cast<size_t>(i)]);
      store_from_float(add.data(), dtype, i, values[static_cast<size_t>(m * dim + i)]);
    }
    test::for_each_isa([&](const KernelTable& table) {
      for (const bool with_add : {false, true}) {
        std::vector<float> out(static_cast<size_t>(m * (dim + 2)), -5.0f);
        table.embed(
            {rows.data(), with_add ? add.data() : nullptr, dtype, m, dim, out.data(), dim + 2},
            context);
        for (int64_t i = 0; i < m * dim; ++i) {
          const float expected = load_as_float(rows.data(), dtype, i) +
                                 (with_add ? load_as_float(add.data(), dtype, i) : 0.0f);
          ASSERT_EQ(out[static_cast<size_t>(i / dim * (dim + 2) + i % dim)], expected);
        }
        EXPECT_EQ(out[static_cast<size_t>(dim)], -5.0f);  // nothing between the rows is touched
      }
    });
  }
}

TEST(Norm, AgreesWithDoublePrecision) {
  const TestContext context(2);
  for (const int64_t dim : {1, 7, 64, 80, 333, 4096}) {
    const int64_t m = 5, stride = dim + 4;
    Random random(2);
    std::vector<float> x = random.normals(m * stride, 2.0f);
    for (float& value : x) value += 1.5f;
    const std::vector<float> weight = random.normals(dim), bias = random.normals(dim);
    for (const NormKind kind : {NormKind::layer, NormKind::rms}) {
      SCOPED_TRACE(testing::Message() << "dim " << dim << " kind " << static_cast<int>(kind));
      test::for_each_isa([&](const KernelTable& table) {
        std::vector<float> y = x;  // in place
        NormParams p{
            kind,  x.data(), stride, weight.data(), kind == NormKind::layer ? bias.data() : nullptr,
            1e-5f, m,        dim,    y.data(),      stride};
        std::vector<std::vector<double>> expected;
        for (int64_t i = 0; i < m; ++i) expected.push_back(test::norm_reference(p, i));
        p.x = y.data();
        table.norm(p, context);
        for (int64_t i = 0; i < m * dim; ++i) {
          const double want = expected[static_cast<size_t>(i / dim)][static_cast<size_t>(i % dim)];
          ASSERT_NEAR(y[static_cast<size_t>(i / dim * stride + i % dim)], want,
                      3e-6 * (1 + std::abs(want)));
        }
        for (int64_t i = dim; i < stride; ++i) {
          EXPECT_EQ(y[static_cast<size_t>(i)], x[static_cast<size_t>(i)]);
        }
      });
    }
  }
}

TEST(Norm, WithoutWeightOfEqualValues) {
  const TestContext context(1);
  const std::vector<float> x(40, 3.0f);
  test::for_each_isa([&](const KernelTable& table) {
    std::vector<float> y(40, -1.0f);
    table.norm({NormKind::layer, x.data(), 40, nullptr, nullptr, 1e-5f, 1, 40, y.data(), 40},
               context);
    for (const float value : y) EXPECT_NEAR(value, 0.0f, 1e-3f);
    table.norm({NormKind::rms, x.data(), 40, nullptr, nullptr, 0.0f, 1, 40, y.data(), 40}, context);
    for (const float value : y) EXPECT_FLOAT_EQ(value, 1.0f);
  });
}

TEST(Gated, EveryActivationOverItsWholeRange) {
  const TestContext context(2);
  const int64_t dim = 3001;
  std::vector<float> gate(static_cast<size_t>(dim)), up = Random(3).normals(dim);
  for (int64_t i = 0; i < dim; ++i)
    gate[static_cast<size_t>(i)] = static_cast<float>(i - 1500) * 0.02f;
  for (const Act act : {Act::none, Act::relu, Act::gelu, Act::gelu_tanh, Act::silu}) {
    SCOPED_TRACE(static_cast<int>(act));
    test::for_each_isa([&](const KernelTable& table) {
      std::vector<float> out(gate.size(), NAN);
      table.gated({gate.data(), up.data(), dim, act, 1, dim, out.data(), dim}, context);
      for (size_t i = 0; i < gate.size(); ++i) {
        const double want = test::act_reference(act, gate[i]) * up[i];
        // Relative, and a little absolute: the tails of gelu lose digits in their exponents.
        ASSERT_NEAR(out[i], want, 1.5e-6 * std::abs(want) + 3e-8 * std::abs(up[i])) << gate[i];
      }
    });
  }
}

TEST(Gated, KeepsNanAndInfinity) {
  const TestContext context(1);
  const std::vector<float> gate = {NAN, INFINITY, -INFINITY, 100.0f, -200.0f}, up(5, 1.0f);
  test::for_each_isa([&](const KernelTable& table) {
    for (const Act act : {Act::relu, Act::gelu, Act::gelu_tanh, Act::silu}) {
      std::vector<float> out(5);
      table.gated({gate.data(), up.data(), 5, act, 1, 5, out.data(), 5}, context);
      EXPECT_TRUE(std::isnan(out[0]));
      EXPECT_EQ(out[1], INFINITY);
      EXPECT_EQ(out[3], 100.0f);
      EXPECT_NEAR(out[4], 0.0f, 1e-30f);
    }
  });
}

TEST(Gated, AValueDoesNotDependOnItsPlace) {
  const TestContext context(1);
  const std::vector<float> x = Random(5).normals(64, 3.0f);
  test::for_each_isa([&](const KernelTable& table) {
    for (const Act act : {Act::gelu, Act::gelu_tanh, Act::silu}) {
      std::vector<float> all(64), one(1);
      table.gated({x.data(), x.data(), 64, act, 1, 64, all.data(), 64}, context);
      for (size_t i = 0; i < 64; ++i) {
        table.gated({x.data() + i, x.data() + i, 1, act, 1, 1, one.data(), 1}, context);
        EXPECT_EQ(one[0], all[i]);
      }
    }
  });
}

TEST(GatherRows, CopiesTheNamedRows) {
  const TestContext context(2);
  const std::vector<float> x = Random(7).normals(20 * 33);
  const std::vector<int32_t> rows = {19, 0, 7, 7, 3};
  test::for_each_isa([&](const KernelTable& table) {
    std::vector<float> out(5 * 40, -2.0f);
    table.gather_rows({x.data(), 33, rows.data(), 5, 33, out.data(), 40}, context);
    for (size_t i = 0; i < 5; ++i) {
      test::expect_same_bits(out.data() + i * 40, x.data() + rows[i] * 33, 33, "row");
      EXPECT_EQ(out[i * 40 + 33], -2.0f);
    }
  });
}

TEST(Rotary, RotatesPairsOfHalves) {
  const TestContext context(2);
  const int64_t m = 6;
  const int heads = 3, dim = 40;
  const std::vector<int32_t> positions = {0, 1, 5, 127, 4000, 131071};
  for (const int rotary_dim : {40, 20, 2}) {
    std::vector<float> inv_freq(static_cast<size_t>(rotary_dim / 2));
    for (size_t i = 0; i < inv_freq.size(); ++i) {
      inv_freq[i] =
          std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(rotary_dim));
    }
    const std::vector<float> x = Random(8).normals(m * heads * dim);
    test::for_each_isa([&](const KernelTable& table) {
      std::vector<float> y = x;
      table.rotary({y.data(), heads * dim, m, heads, dim, rotary_dim, positions.data(),
                    inv_freq.data(), 1.2f},
                   context);
      for (int64_t at = 0; at < m * heads * dim; ++at) {
        const int64_t begin = at / dim * dim;
        const int i = static_cast<int>(at % dim), half = rotary_dim / 2;
        if (i >= rotary_dim) {
          ASSERT_EQ(y[static_cast<size_t>(at)], x[static_cast<size_t>(at)]);
          continue;
        }
        const float position =
            static_cast<float>(positions[static_cast<size_t>(at / (heads * dim))]);
        const double angle = position * inv_freq[static_cast<size_t>(i % half)];
        const double a = x[static_cast<size_t>(begin + i % half)];
        const double b = x[static_cast<size_t>(begin + i % half + half)];
        const double want = i < half ? a * std::cos(angle) - b * std::sin(angle)
                                     : b * std::cos(angle) + a * std::sin(angle);
        ASSERT_NEAR(y[static_cast<size_t>(at)], 1.2 * want, 2e-6);
      }
    });
  }
}

}  // namespace
}  // namespace penstock
