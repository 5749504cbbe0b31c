#include <gtest/gtest.h>

#include <cmath>

#include "kernels/gemm_cases.h"

namespace penstock {
namespace {

using test::Epilogue;
using test::expect_close;
using test::for_each_input;
using test::Inputs;
using test::multiply;
using test::Random;
using test::Shape;
using test::TestContext;
using test::Weight;

TEST(Gemm, AgreesWithDoublePrecision) {
  const TestContext context(2);
  for (const Shape shape : {Shape{1, 16, 128},
                            {3, 40, 72},
                            {5, 7, 1},
                            {17, 33, 261},
                            {2, 150, 1030},
                            {70, 50, 600},
                            {13, 129, 96},
                            {4, 31, 2100}}) {
    SCOPED_TRACE(testing::Message() << shape.m << "x" << shape.n << "x" << shape.k);
    Random random(7 + static_cast<uint64_t>(shape.k));
    const std::vector<float> x = random.normals(shape.m * shape.k);
    Epilogue epilogue{random.normals(shape.n), random.normals(shape.m * shape.n), Act::silu};
    for_each_input([&](FormatId id, bool exact) {
      Weight weight(id, shape.n, shape.k, 11);
      const auto panels = weight.panels({0});
      test::for_each_isa([&](const KernelTable& table) {
        const Inputs inputs(table, weight, exact, x, context);
        expect_close(weight, inputs, multiply({table, context}, weight, inputs, panels, epilogue),
                     epilogue);
      });
    });
  }
}

TEST(Gemm, EveryActivation) {
  const TestContext context(1);
  Random random(3);
  Weight weight(weight_format("fp32"), 37, 64, 5);
  const auto panels = weight.panels({0});
  const std::vector<float> x = random.normals(6 * 64, 4.0f);
  for (const Act act : {Act::none, Act::relu, Act::gelu, Act::gelu_tanh, Act::silu}) {
    SCOPED_TRACE(static_cast<int>(act));
    const Epilogue epilogue{random.normals(37), {}, act};
    test::for_each_isa([&](const KernelTable& table) {
      const Inputs inputs(table, weight, false, x, context);
      expect_close(weight, inputs, multiply({table, context}, weight, inputs, panels, epilogue),
                   epilogue);
    });
  }
}

// The rows of a large GEMM equal, bit for bit, the same rows alone, among others, in other panels,
// on other threads.
void expect_rows_independent(const KernelTable& table, FormatId id, bool exact, Shape shape) {
  const TestContext one(1), two(2);
  Random random(23);
  Weight weight(id, shape.n, shape.k, 29);
  const std::vector<float> x = random.normals(shape.m * shape.k);
  const Epilogue epilogue{random.normals(shape.n), {}, Act::gelu};
  const auto whole = weight.panels({0});
  const auto split = weight.panels({0, 16, 64, 80});
  const Inputs all(table, weight, exact, x, two);
  const std::vector<float> expected = multiply({table, two}, weight, all, whole, epilogue);
  EXPECT_EQ(multiply({table, one}, weight, all, whole, epilogue), expected) << "threads";
  EXPECT_EQ(multiply({table, two}, weight, all, split, epilogue), expected) << "panels";
  if (!format(id).quantised()) {
    const auto ragged = weight.panels({0, 1, 6, 47});
    EXPECT_EQ(multiply({table, two}, weight, all, ragged, epilogue), expected) << "ragged panels";
  }
  for (int64_t m = 1; m < shape.m; m += m < 14 ? 1 : 17) {  // every row grouping, at moving places
    const int64_t first = (m * 5) % (shape.m - m);
    const std::vector<float> part(x.begin() + first * shape.k, x.begin() + (first + m) * shape.k);
    const Inputs some(table, weight, exact, part, one);
    const std::vector<float> y = multiply({table, one}, weight, some, whole, epilogue);
    test::expect_same_bits(y.data(), expected.data() + first * shape.n, m * shape.n, "rows");
  }
}

TEST(Gemm, RowsDoNotSeeOtherRows) {
  for_each_input([&](FormatId id, bool exact) {
    test::for_each_isa([&](const KernelTable& table) {
      expect_rows_independent(table, id, exact, {70, 90, 1100});
    });
  });
}

TEST(Gemm, EveryRowAloneEqualsItselfInTheBatch) {
  const TestContext context(1);
  for (const std::string_view name : {"fp32", "bf16", "int8", "int4-g32"}) {
    SCOPED_TRACE(std::string(name));
    const Shape shape{70, 24, 520};
    Weight weight(weight_format(name), shape.n, shape.k, 31);
    const auto panels = weight.panels({0});
    const std::vector<float> x = Random(37).normals(shape.m * shape.k);
    test::for_each_isa([&](const KernelTable& table) {
      const Inputs all(table, weight, false, x, context);
      const std::vector<float> expected = multiply({table, context}, weight, all, panels, {});
      for (int64_t i = 0; i < shape.m; ++i) {
        const std::vector<float> row(x.begin() + i * shape.k, x.begin() + (i + 1) * shape.k);
        const Inputs alone(table, weight, false, row, context);
        const std::vector<float> y = multiply({table, context}, weight, alone, panels, {});
        test::expect_same_bits(y.data(), expected.data() + i * shape.n, shape.n, "row");
      }
    });
  }
}

TEST(Gemm, ManyInputRowsAreCutIntoRuns) {
  const TestContext context(2);
  const Shape shape{1100, 20, 40};
  for (const std::string_view name : {"fp16", "bf16", "int8-g32"}) {
    SCOPED_TRACE(std::string(name));
    Weight weight(weight_format(name), shape.n, shape.k, 41);
    const auto panels = weight.panels({0});
    const std::vector<float> x = Random(43).normals(shape.m * shape.k);
    test::for_each_isa([&](const KernelTable& table) {
      const Inputs inputs(table, weight, false, x, context);
      expect_close(weight, inputs, multiply({table, context}, weight, inputs, panels, {}), {});
    });
  }
}

TEST(Gemm, ResidualMayBeTheOutputAndColumnsMayBeShifted) {
  const TestContext context(2);
  Random random(47);
  Weight weight(weight_format("bf16"), 48, 300, 53);
  const auto panels = weight.panels({0, 16});
  const std::vector<float> x = random.normals(9 * 300);
  const Epilogue epilogue{{}, random.normals(9 * 48), Act::none};
  test::for_each_isa([&](const KernelTable& table) {
    const Inputs inputs(table, weight, false, x, context);
    test::expect_in_place_and_shifted(weight, inputs, panels, epilogue,
                                      [&](const GemmParams& p) { table.gemm(p, context); });
  });
}

TEST(Gemm, QuantisedProductsHaveTheSameBitsEverywhere) {
  const TestContext context(1);
  const int64_t m = 11, n = 40, k = 200;
  const std::vector<float> x = Random(6).normals(m * k);
  for (const std::string_view name : {"int8", "int8-g64", "int4-g32", "int4-g64"}) {
    SCOPED_TRACE(std::string(name));
    Weight weight(weight_format(name), n, k, 5);
    const auto panels = weight.panels({0});
    test::for_each_isa([&](const KernelTable& table) {
      const Inputs inputs(table, weight, false, x, context);
      const std::vector<float> y = multiply({table, context}, weight, inputs, panels, {});
      test::expect_exact(weight, inputs, y, table.isa != "portable");
    });
  }
}

TEST(Gemm, ANanStaysInItsRow) {
  const TestContext context(1);
  for_each_input([&](FormatId id, bool exact) {
    Weight weight(id, 40, 200, 59);
    const auto panels = weight.panels({0});
    test::for_each_isa([&](const KernelTable& table) {
      test::expect_bad_inputs_stay({5, 40, 200}, [&](const std::vector<float>& x) {
        return multiply({table, context}, weight, {table, weight, exact, x, context}, panels, {});
      });
    });
  });
}

}  // namespace
}  // namespace penstock
