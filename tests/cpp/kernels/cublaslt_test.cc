// Products by cuBLASLt: through a stand-in library, which checks what the library is asked for and
// not what a GPU's does, and the emulator for all around it. The library that
// PENSTOCK_TEST_CUBLASLT names is asked for its descriptors too, which need no GPU.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "kernels/cublaslt/products.h"
#include "kernels/gemm_cases.h"
#include "support/cublaslt/open_standin.h"

namespace penstock {
namespace {

using test::Epilogue;
using test::Inputs;
using test::Random;
using test::Shape;
using test::TestContext;
using test::Weight;

PreparedLayout half_layout(const Weight& weight) {
  const bool fp16 = format(weight.id()).raw == DType::f16;
  return prepared_layout(fp16 ? InputKind::f16 : InputKind::bf16, weight.k(), 0);
}

class Cublaslt : public testing::Test {
 protected:
  std::unique_ptr<cublaslt::DenseProducts> products() {
    return std::make_unique<cublaslt::DenseProducts>(opened_.loaded);
  }

  // Of the weight's own type.
  Inputs prepared(const Weight& weight, const std::vector<float>& x) {
    return {test::emulated_cuda_table(), half_layout(weight), x, context_};
  }

  test::OpenStandin standin_;
  const cublaslt::Opened& opened_ = standin_.opened;
  test::StandinControl* control_ = standin_.control;
  TestContext context_{1};
};

std::vector<float> multiply(cublaslt::DenseProducts* dense, const Weight& weight,
                            const Inputs& inputs, const std::vector<WeightPanel>& panels,
                            const Epilogue& epilogue) {
  std::vector<float> y(static_cast<size_t>(inputs.m * weight.n()), NAN);
  GemmParams p = gemm_params(weight, inputs, panels, epilogue);
  p.y = y.data();
  p.y_stride = weight.n();
  test::emulate_dense(p, dense);
  return y;
}

constexpr const char* kFormats[] = {"bf16", "fp16"};

TEST_F(Cublaslt, TellsItsVersion) {
  ASSERT_NE(opened_.loaded, nullptr) << opened_.reason;
  EXPECT_EQ(opened_.loaded->version, "13.1.0");
}

TEST_F(Cublaslt, IsLeftAloneWithAReason) {
  const auto reason = [](const std::string& choice) {
    const cublaslt::Opened opened = cublaslt::open_library(choice);
    EXPECT_EQ(opened.loaded, nullptr);
    return opened.reason;
  };
  EXPECT_NE(reason("/nowhere/libcublasLt.so.13").find("/nowhere/libcublasLt.so.13"),
            std::string::npos);
  EXPECT_NE(reason(PENSTOCK_CUBLASLT_PARTIAL).find("it has no cublasLtDestroy"), std::string::npos);
  EXPECT_NE(reason(PENSTOCK_CUBLASLT_OLD).find("it is of version 12.4.5"), std::string::npos);
  EXPECT_EQ(reason(cublaslt::kOff), "cuBLASLt is turned off");
}

// By the loader's names: where the machine has none, that is no error.
TEST_F(Cublaslt, IsFoundByNameOrNot) {
  const cublaslt::Opened opened = cublaslt::open_library("");
  EXPECT_NE(opened.loaded == nullptr, opened.reason.empty());
}

TEST_F(Cublaslt, AgreesWithDoublePrecision) {
  const auto dense = products();
  for (const Shape shape : {Shape{1, 16, 128},
                            {3, 40, 72},
                            {5, 7, 8},
                            {17, 33, 264},
                            {70, 50, 600},
                            {200, 300, 64},
                            {700, 70, 16}}) {
    for (const char* format : kFormats) {
      SCOPED_TRACE(testing::Message()
                   << format << " " << shape.m << "x" << shape.n << "x" << shape.k);
      Random random(7 + static_cast<uint64_t>(shape.k));
      Weight weight(weight_format(format), shape.n, shape.k, 11);
      const auto panels = weight.panels({0, shape.n / 3, shape.n / 2 + 1});
      const Inputs inputs = prepared(weight, random.normals(shape.m * shape.k));
      for (const Epilogue& epilogue :
           {Epilogue{},
            Epilogue{random.normals(shape.n), random.normals(shape.m * shape.n), Act::silu}}) {
        const int64_t before = control_->products;
        expect_close(weight, inputs, multiply(dense.get(), weight, inputs, panels, epilogue),
                     epilogue);
        EXPECT_GE(control_->products, before + 3);
      }
    }
  }
}

// Products of a row times a power of two are those of the row times that power.
TEST_F(Cublaslt, RowsOfFp16HaveAnyMagnitude) {
  const auto dense = products();
  const int64_t n = 20, k = 136;
  const int powers[] = {0, 20, -20, 90, -90};
  Weight weight(weight_format("fp16"), n, k, 67);
  const std::vector<float> row = Random(71).normals(k);
  std::vector<float> x;
  for (const int power : powers) {
    for (const float value : row) x.push_back(std::ldexp(value, power));
  }
  const Inputs inputs = prepared(weight, x);
  const std::vector<float> y = multiply(dense.get(), weight, inputs, weight.panels({0}), {});
  expect_close(weight, prepared(weight, row), {y.begin(), y.begin() + n}, {});
  for (int64_t i = 1; i < 5; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      EXPECT_EQ(y[static_cast<size_t>(i * n + j)],
                std::ldexp(y[static_cast<size_t>(j)], powers[i]));
    }
  }
}

// The residual is y, whose columns are shifted and whose rows are apart.
TEST_F(Cublaslt, WorksInPlaceAndBesideOtherColumns) {
  const auto dense = products();
  const int64_t m = 9, n = 48, k = 304, stride = 61, origin = 16;
  for (const char* format : kFormats) {
    SCOPED_TRACE(format);
    Random random(47);
    Weight weight(weight_format(format), n, k, 53);
    const auto panels = weight.panels({0, 16, 41});
    const std::vector<WeightPanel> some{panels[1], panels[2]};
    const Inputs inputs = prepared(weight, random.normals(m * k));
    const Epilogue epilogue{random.normals(n), random.normals(m * n), Act::gelu};
    const std::vector<float> expected = multiply(dense.get(), weight, inputs, panels, epilogue);
    std::vector<float> y(static_cast<size_t>(m * stride), 5.0f);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = origin; j < n; ++j) {
        y[static_cast<size_t>(i * stride + j - origin)] =
            epilogue.residual[static_cast<size_t>(i * n + j)];
      }
    }
    GemmParams p = gemm_params(weight, inputs, some, epilogue);
    p.y = y.data();
    p.residual = y.data() - origin;
    p.y_stride = p.residual_stride = stride;
    p.column_origin = origin;
    test::emulate_dense(p, dense.get());
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < stride; ++j) {
        const float found = y[static_cast<size_t>(i * stride + j)];
        const bool inside = j < n - origin;
        EXPECT_EQ(found, inside ? expected[static_cast<size_t>(i * n + j + origin)] : 5.0f);
      }
    }
  }
}

TEST_F(Cublaslt, PanelsThatFollowEachOtherAreOne) {
  const auto dense = products();
  Weight weight(weight_format("bf16"), 90, 40, 3);
  const WeightPanel whole = weight.panels({0})[0];
  const std::vector<WeightPanel> cut{
      {whole.data, 0, 10}, {whole.data + 10 * 80, 10, 30}, {whole.data + 30 * 80, 30, 90}};
  const Inputs inputs = prepared(weight, Random(5).normals(4 * 40));
  const std::vector<float> y = multiply(dense.get(), weight, inputs, cut, {});
  EXPECT_EQ(control_->products, 1);
  EXPECT_EQ(y, multiply(dense.get(), weight, inputs, {whole}, {}));
}

TEST_F(Cublaslt, TheAlgorithmSumsInOneSequenceAndTakesEveryShape) {
  for (const char* format : kFormats) {
    const auto dense = products();
    Weight weight(weight_format(format), 8, 64, 3);
    const Inputs inputs = prepared(weight, Random(5).normals(64));
    EXPECT_TRUE(dense->takes({64, inputs.layout.stride_bytes, dtype_from_name(format)}));
    multiply(dense.get(), weight, inputs, weight.panels({0}), {});
    EXPECT_EQ(control_->algorithm, 5);  // 1 to 4 split, reduce, want workspace or 8 rows at a time
  }
}

// Rows of both have the same width and distance.
TEST_F(Cublaslt, ATypeHasAnAlgorithmOfItsOwn) {
  Weight bf16(weight_format("bf16"), 8, 64, 3), fp16(weight_format("fp16"), 8, 64, 3);
  const Inputs of_bf16 = prepared(bf16, Random(5).normals(64));
  const Inputs of_fp16 = prepared(fp16, Random(5).normals(64));
  ASSERT_EQ(of_bf16.layout.stride_bytes, of_fp16.layout.stride_bytes);
  const auto dense = products();
  multiply(dense.get(), bf16, of_bf16, bf16.panels({0}), {});
  const int64_t tile = control_->tile;
  multiply(dense.get(), fp16, of_fp16, fp16.panels({0}), {});
  EXPECT_NE(control_->tile, tile);
  multiply(dense.get(), bf16, of_bf16, bf16.panels({0}), {});
  EXPECT_EQ(control_->tile, tile);
}

// Bits of a row are its own, and no cut of the weight shows, though the library would choose
// another algorithm for other numbers of rows.
TEST_F(Cublaslt, RowsAndPanelsDoNotShow) {
  const Shape shape{600, 150, 520};
  const std::vector<float> x = Random(37).normals(shape.m * shape.k);
  for (const char* format : kFormats) {
    SCOPED_TRACE(format);
    Weight weight(weight_format(format), shape.n, shape.k, 31);
    const Inputs all = prepared(weight, x);
    const auto dense = products();
    const std::vector<float> expected = multiply(dense.get(), weight, all, weight.panels({0}), {});
    const int64_t tile = control_->tile;
    EXPECT_EQ(multiply(dense.get(), weight, all, weight.panels({0, 1, 6, 47, 128}), {}), expected);
    for (const int64_t m : {1, 2, 16, 100, 599}) {
      const auto other = products();  // whose first product it is
      const int64_t first = (m * 5) % (shape.m - m);
      const std::vector<float> part(x.begin() + first * shape.k, x.begin() + (first + m) * shape.k);
      const Inputs some = prepared(weight, part);
      const std::vector<float> y =
          multiply(other.get(), weight, some, weight.panels({0, 16 + m % 40}), {});
      test::expect_same_bits(y.data(), expected.data() + first * shape.n, m * shape.n, "rows");
      EXPECT_EQ(control_->tile, tile);
    }
  }
}

// What is not taken is our own kernels', whose bits are those of a launcher without the library.
TEST_F(Cublaslt, WhatItDoesNotTakeIsOurs) {
  struct Case {
    const char* format;
    int64_t k;
    InputKind inputs;
    bool refuses_all = false, ties_rows = false;
  };
  for (const Case& c : {Case{"bf16", 130, InputKind::bf16},
                        {"fp16", 130, InputKind::f16},
                        {"bf16", 136, InputKind::bf16, true},
                        {"fp16", 136, InputKind::f16, true},
                        {"bf16", 136, InputKind::bf16, false, true},
                        {"fp16", 136, InputKind::f16, false, true},
                        {"bf16", 136, InputKind::f32},
                        {"fp16", 136, InputKind::f32},
                        {"bf16", 136, InputKind::f16},  // Turing's
                        {"fp32", 136, InputKind::f32},
                        {"int8", 136, InputKind::int8}}) {
    SCOPED_TRACE(testing::Message() << c.format << " " << c.k);
    control_->refuses_all = c.refuses_all;
    control_->ties_rows = c.ties_rows;
    const auto dense = products();
    Weight weight(weight_format(c.format), 32, c.k, 3);
    const PreparedLayout layout =
        prepared_layout(c.inputs, c.k, c.inputs == InputKind::int8 ? 64 : 0);
    const Inputs inputs(test::emulated_cuda_table(), layout, Random(5).normals(6 * c.k), context_);
    const auto panels = weight.panels({0, 16});
    EXPECT_EQ(multiply(dense.get(), weight, inputs, panels, {}),
              multiply(nullptr, weight, inputs, panels, {}));
    EXPECT_EQ(control_->products, 0);
  }
}

TEST_F(Cublaslt, AFailedCallIsAnErrorThatNamesIt) {
  for (const char* format : kFormats) {
    Weight weight(weight_format(format), 32, 64, 3);
    const Inputs inputs = prepared(weight, Random(5).normals(64));
    for (const char* call :
         {"cublasLtCreate", "cublasLtMatmulDescCreate", "cublasLtMatmulDescSetAttribute",
          "cublasLtMatrixLayoutCreate", "cublasLtMatmulPreferenceCreate",
          "cublasLtMatmulPreferenceSetAttribute", "cublasLtMatmulAlgoGetHeuristic",
          "cublasLtMatmulAlgoConfigGetAttribute", "cublasLtMatmulAlgoCheck", "cublasLtMatmul"}) {
      SCOPED_TRACE(call);
      control_->fails = call;
      control_->status = cublaslt::kInternalError;
      try {
        const auto dense = products();
        multiply(dense.get(), weight, inputs, weight.panels({0}), {});
        ADD_FAILURE() << "no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::device);
        EXPECT_EQ(std::string(error.what()),
                  std::string("cuBLASLt: ") + call + ": status 14 (internal error)");
      }
      EXPECT_EQ(control_->objects, 0);  // nothing is left behind
    }
  }
}

// A refusal at the product itself: another kernel's sums would not be the same.
TEST_F(Cublaslt, NothingStandsInForAProductThatIsRefused) {
  Weight weight(weight_format("bf16"), 32, 64, 3);
  const Inputs inputs = prepared(weight, Random(5).normals(64));
  const auto dense = products();
  control_->fails = "cublasLtMatmul";
  control_->status = cublaslt::kNotSupported;
  EXPECT_THROW(multiply(dense.get(), weight, inputs, weight.panels({0}), {}), Error);
}

// Large enough for all the tiles of a GPU that is the test device, which this is for: whether
// cuBLASLt keeps there what products.h wants of it. Elsewhere our own kernels, emulated.
TEST(CublasltDevice, LargeProductsKeepTheBitsOfARow) {
  const bool gpu = test::test_device().starts_with("cuda:");
  const Shape shape = gpu ? Shape{1500, 3100, 4096} : Shape{40, 70, 520};
  const KernelTable& table = test::cuda_kernel_table();
  const TestContext context(2);
  Random random(61);
  const std::vector<float> x = random.normals(shape.m * shape.k);
  const Epilogue epilogue{random.normals(shape.n), {}, Act::gelu};
  for (const char* format : kFormats) {
    SCOPED_TRACE(format);
    Weight weight(weight_format(format), shape.n, shape.k, 67);
    const Inputs all(table, half_layout(weight), x, context);
    const auto whole = weight.panels({0});
    const std::vector<float> expected =
        test::multiply({table, context}, weight, all, whole, epilogue);
    for (const auto& begins : std::vector<std::vector<int64_t>>{
             {0, shape.n / 2}, {0, 1, 16, 33}, {0, shape.n / 3 * 2, shape.n - 1}}) {
      const std::vector<float> y =
          test::multiply({table, context}, weight, all, weight.panels(begins), epilogue);
      EXPECT_EQ(y, expected) << "panels";
    }
    for (const int64_t m : {1, 2, 7, 16, 31, 64, 200, 511, 1024, 1499}) {
      if (m >= shape.m) break;
      const int64_t first = (m * 5) % (shape.m - m);
      const std::vector<float> part(x.begin() + first * shape.k, x.begin() + (first + m) * shape.k);
      const Inputs some(table, half_layout(weight), part, context);
      const std::vector<float> y = test::multiply({table, context}, weight, some, whole, epilogue);
      test::expect_same_bits(y.data(), expected.data() + first * shape.n, m * shape.n, "rows");
    }
  }
}

// Also by the real library, where it is named: it takes every attribute, and without a GPU its
// handle is refused by name.
TEST_F(Cublaslt, DescriptorsAreTakenWithoutAGpu) {
  std::vector<std::string> files{PENSTOCK_CUBLASLT_STANDIN};
  const std::string named = test::test_cublaslt();
  if (!named.empty() && named != cublaslt::kOff) files.push_back(named);
  for (const std::string& file : files) {
    SCOPED_TRACE(file);
    const cublaslt::Opened opened = cublaslt::open_library(file);
    ASSERT_NE(opened.loaded, nullptr) << opened.reason;
    const cublaslt::Functions& call = opened.loaded->call;
    const cublaslt::Descriptors of(call, {1000, 3, 64, 96, 1024, DType::bf16});
    const cublaslt::Descriptors of_fp16(call, {1000, 3, 64, 96, 1024, DType::f16});
    for (const auto* made : {&of, &of_fp16}) {
      EXPECT_NE(made->product(), nullptr);
      EXPECT_NE(made->weights(), nullptr);
      EXPECT_NE(made->inputs(), nullptr);
      EXPECT_NE(made->sums(), nullptr);
    }
    EXPECT_NE(cublaslt::make_preference(call).get(), nullptr);
    const int64_t wide = 1;
    EXPECT_EQ(call.desc_set(of.product(), cublaslt::kTransposeFirst, &wide, sizeof(wide)),
              cublaslt::kInvalidValue);
    try {
      const cublaslt::DenseProducts opens(opened.loaded);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::device);
      EXPECT_NE(std::string(error.what()).find("cublasLtCreate"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace penstock
