// Weight-only products of many rows that need not have bits of their own: weights that become bf16
// in the workspace, by the stand-in for cuBLASLt. What it is asked for is compared with what the
// same weights, kept as bf16, are multiplied like.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "kernels/cuda/gemm_dequantised.h"
#include "kernels/gemm_cases.h"
#include "support/cublaslt/open_standin.h"

namespace penstock {
namespace {

using cuda::DequantisedRoom;
using test::AlignedBytes;
using test::Epilogue;
using test::Inputs;
using test::Random;
using test::Shape;
using test::TestContext;
using test::Weight;

TEST(CudaDequantise, OnlyManyRowsThatNeedNotBeInvariantAreHandedOver) {
  EXPECT_FALSE(cuda::is_handed_over(true, 1 << 20));
  EXPECT_FALSE(cuda::is_handed_over(false, 1));
  EXPECT_FALSE(cuda::is_handed_over(false, cuda::kDequantiseKnee - 1));
  EXPECT_TRUE(cuda::is_handed_over(false, cuda::kDequantiseKnee));
  EXPECT_TRUE(GemmParams{}.invariant);
}

TEST(CudaDequantise, TheWorkspaceHoldsAPiece) {
  for (const int64_t bytes : {int64_t{192} << 10, int64_t{1} << 20, int64_t{32} << 20}) {
    for (const int64_t k : {8, 64, 1000, 4096, 8192, 28672}) {
      for (const int64_t m : {1, 5, 2048, 4096, 100000}) {
        const DequantisedRoom room(bytes, m, k);
        if (room.inputs == 0) {
          EXPECT_GT(64 * (k * 2 + 4), bytes) << k;
          continue;
        }
        ASSERT_GE(room.rows, 64);
        ASSERT_EQ(room.rows % 64, 0);
        ASSERT_LE(room.rows * (k * 2 + room.inputs * 4), bytes);
        ASSERT_GT((room.rows + 64) * (k * 2 + room.inputs * 4), bytes);
        ASSERT_LE(room.inputs, m);
        ASSERT_TRUE(room.inputs == m || room.inputs == 8192 || room.rows == 64);
      }
    }
  }
  const DequantisedRoom room(int64_t{32} << 20, cuda::kDequantiseKnee, 8192);
  EXPECT_EQ(room.inputs, cuda::kDequantiseKnee);
  EXPECT_EQ(room.rows, 1344);
}

// Lanes of a warp load what lies together, and store whole lines of rows.
TEST(CudaDequantise, LanesCover64KOfATile) {
  std::set<std::pair<int, int>> seen;
  std::map<int, std::set<int>> lines;
  for (int lane = 0; lane < cuda::kWarp; ++lane) {
    const cuda::LanePlace at = cuda::dequantise_place(lane);
    for (int row = at.row; row < at.row + cuda::kLaneRows; ++row) {
      for (int k = at.k; k < at.k + cuda::kLaneK; ++k) seen.insert({row, k});
      lines[row].insert(at.k / cuda::kLaneK);
    }
    const int first = (at.k / 8 * kTileRows + at.row) * 4;  // of the codes, 4 bits
    EXPECT_EQ(first, lane * 16);
  }
  EXPECT_EQ(seen.size(), size_t{16 * 64});
  for (const auto& [row, parts] : lines) EXPECT_EQ(parts.size(), 8u);
}

// Also of formats that have no id: every value is that of the scalar reference, rounded once.
TEST(CudaDequantise, HasTheBitsOfTheReference) {
  for (const auto& [bits, offset] :
       {std::pair{8, Offset::midpoint}, {4, Offset::midpoint}, {4, Offset::integer}}) {
    for (const int group : {0, 32, 64, 128}) {
      const QuantFormat of{
          .name = "any", .code = Code::uint, .bits = bits, .group = group, .offset = offset};
      for (const auto& [n, k] : {std::pair<int64_t, int64_t>{50, 200}, {16, 8}, {7, 456}}) {
        SCOPED_TRACE(testing::Message() << bits << " bits by " << group << ", " << n << "x" << k);
        Weight weight(of, n, k, 71);
        const WeightPanel panel = weight.panels({0})[0];
        AlignedBytes found(n * k * 2 + 16);
        std::fill_n(found.data(), found.size(), std::byte{0x5a});
        test::emulate_dequantise(
            {test::view_of(of, weight.layout()), k, panel.data, n, found.data()});
        for (int64_t row = 0; row < n; ++row) {
          const std::vector<double> expected = weight.row(row);
          for (int64_t at = 0; at < k; ++at) {
            const auto value = static_cast<float>(expected[static_cast<size_t>(at)]);
            ASSERT_EQ(cuda::load<uint16_t>(found.data() + (row * k + at) * 2),
                      bf16_from_float(value))
                << row << " " << at;
          }
        }
        EXPECT_EQ(found.data()[n * k * 2], std::byte{0x5a});
      }
    }
  }
}

class Dequantised : public testing::Test {
 protected:
  static constexpr size_t kWorkspace = size_t{192} << 10;

  Inputs prepared(const Weight& weight, const std::vector<float>& x) const {
    const auto layout = prepared_layout_for(format(weight.id()), weight.k(), Compute::weight_only);
    return {test::emulated_cuda_table(), layout, x, context_};
  }
  // What the same weights give that are kept as bf16.
  std::vector<float> as_bf16(const Weight& weight, const Inputs& inputs,
                             const Epilogue& epilogue) const {
    const int64_t n = weight.n(), k = weight.k();
    AlignedBytes rows(n * k * 2);
    for (int64_t row = 0; row < n; ++row) {
      const std::vector<double> values = weight.row(row);
      for (int64_t at = 0; at < k; ++at) {
        store_from_float(rows.data(), DType::bf16, row * k + at,
                         static_cast<float>(values[static_cast<size_t>(at)]));
      }
    }
    const std::vector<WeightPanel> panels{{rows.data(), 0, n}};
    std::vector<float> y(static_cast<size_t>(inputs.m * n), NAN);
    GemmParams p = gemm_params(weight, inputs, panels, epilogue);
    p.format = weight_format("bf16");
    p.y = y.data();
    p.y_stride = n;
    test::emulate_dense(p, dense_.get());
    return y;
  }

  test::OpenStandin standin_;
  test::StandinControl* control_ = standin_.control;
  std::unique_ptr<cublaslt::DenseProducts> dense_ =
      std::make_unique<cublaslt::DenseProducts>(standin_.opened.loaded);
  TestContext context_{1};
};

// Panels that follow each other and some that do not, in a workspace that holds all of it or only
// 64 rows.
TEST_F(Dequantised, HasTheBitsOfTheSameWeightsInBf16) {
  for (const char* name : {"int8", "int8-g32", "int4-g32", "int4-g128"}) {
    for (const Shape shape : {Shape{3, 40, 72}, {17, 33, 264}, {5, 300, 600}, {130, 150, 128}}) {
      SCOPED_TRACE(testing::Message() << name << " " << shape.m << "x" << shape.n);
      Random random(7 + static_cast<uint64_t>(shape.k));
      Weight weight(weight_format(name), shape.n, shape.k, 11);
      const auto panels = weight.panels({0, 16, shape.n / 32 * 16});
      const Inputs inputs = prepared(weight, random.normals(shape.m * shape.k));
      const Epilogue epilogue{random.normals(shape.n), random.normals(shape.m * shape.n),
                              Act::silu};
      const std::vector<float> expected = as_bf16(weight, inputs, epilogue);
      for (const size_t bytes : {kWorkspace, static_cast<size_t>(64 * (shape.k * 2 + 9))}) {
        std::vector<float> y(static_cast<size_t>(shape.m * shape.n), NAN);
        GemmParams p = gemm_params(weight, inputs, panels, epilogue);
        p.y = y.data();
        p.y_stride = shape.n;
        const int64_t before = control_->products;
        ASSERT_TRUE(test::emulate_dequantised(p, dense_.get(), bytes));
        EXPECT_GT(control_->products, before);
        EXPECT_EQ(y, expected) << bytes;
      }
    }
  }
}

TEST_F(Dequantised, PanelsThatFollowByTheirRowsAreOneProduct) {
  Weight weight(weight_format("int4-g32"), 90, 40, 3);
  const Inputs inputs = prepared(weight, Random(5).normals(4 * 40));
  std::vector<float> y(4 * 90, NAN);
  const auto products = [&](std::vector<WeightPanel> panels) {
    control_->products = 0;
    GemmParams p = gemm_params(weight, inputs, panels, {});
    p.y = y.data();
    p.y_stride = 90;
    EXPECT_TRUE(test::emulate_dequantised(p, dense_.get(), kWorkspace));
    return control_->products;
  };
  const auto panels = weight.panels({0, 16, 64, 80});
  EXPECT_EQ(products(panels), 1);
  EXPECT_EQ(products({panels[0], panels[2], panels[3]}), 2);
  EXPECT_EQ(products({panels[2], panels[0], panels[1]}), 2);
}

TEST_F(Dequantised, WorksInPlaceAndBesideOtherColumns) {
  Random random(47);
  Weight weight(weight_format("int8-g64"), 48, 304, 53);
  const Inputs inputs = prepared(weight, random.normals(9 * 304));
  const Epilogue epilogue{random.normals(48), random.normals(9 * 48), Act::gelu};
  const auto panels = weight.panels({0, 16});
  std::vector<float> y = epilogue.residual;
  GemmParams p = gemm_params(weight, inputs, panels, epilogue);
  p.residual = p.y = y.data();
  p.y_stride = 48;
  ASSERT_TRUE(test::emulate_dequantised(p, dense_.get(), kWorkspace));
  const std::vector<float> expected = as_bf16(weight, inputs, epilogue);
  EXPECT_EQ(y, expected);
  std::vector<float> narrow(9 * 33, 5.0f);
  p.panels = &panels[1];
  p.panel_count = 1;
  p.residual = epilogue.residual.data();
  p.y = narrow.data();
  p.y_stride = 33;
  p.column_origin = 16;
  ASSERT_TRUE(test::emulate_dequantised(p, dense_.get(), kWorkspace));
  for (int64_t i = 0; i < 9; ++i) {
    test::expect_same_bits(narrow.data() + i * 33, expected.data() + i * 48 + 16, 32, "shifted");
    EXPECT_EQ(narrow[static_cast<size_t>(i * 33 + 32)], 5.0f);
  }
}

// From the knee on, and only for those who asked.
TEST_F(Dequantised, TheKneeIsWhereBitsChange) {
  const int64_t n = 16, k = 16, most = cuda::kDequantiseKnee;
  Weight weight(weight_format("int4-g32"), n, k, 3);
  const Inputs all = prepared(weight, Random(5).normals(most * k));
  const auto panels = weight.panels({0});
  const auto product = [&](int64_t m, bool invariant) {
    std::vector<float> y(static_cast<size_t>(most * n), 0.0f);
    GemmParams p = gemm_params(weight, all, panels, {});
    p.invariant = invariant;
    p.m = m;
    p.y = y.data();
    p.y_stride = n;
    test::emulate_dense(p, dense_.get());
    y.resize(static_cast<size_t>(m * n));
    return y;
  };
  const std::vector<float> own = product(most, true);
  std::vector<float> below = product(most - 1, false);
  EXPECT_EQ(control_->products, 0);
  below.insert(below.end(), own.end() - n, own.end());
  EXPECT_EQ(below, own);
  const std::vector<float> handed_over = product(most, false);
  EXPECT_GT(control_->products, 0);
  EXPECT_EQ(handed_over, as_bf16(weight, all, {}));
  EXPECT_NE(handed_over, own);
}

// K that the library does not take, a library that takes nothing, or none: our own kernel.
TEST_F(Dequantised, WhatItDoesNotTakeIsLeft) {
  struct Case {
    int64_t k;
    bool refuses_all, ties_rows;
    size_t bytes;
  };
  for (const Case& c : {Case{130, false, false, kWorkspace},
                        {136, true, false, kWorkspace},
                        {136, false, true, kWorkspace},
                        {136, false, false, 64 * 136 * 2}}) {
    SCOPED_TRACE(testing::Message() << c.k << " " << c.bytes);
    control_->refuses_all = c.refuses_all;
    control_->ties_rows = c.ties_rows;
    const cublaslt::Opened opened = cublaslt::open_library(PENSTOCK_CUBLASLT_STANDIN);
    cublaslt::DenseProducts dense(opened.loaded);
    Weight weight(weight_format("int8"), 32, c.k, 3);
    const Inputs inputs = prepared(weight, Random(5).normals(6 * c.k));
    const auto panels = weight.panels({0, 16});
    const GemmParams p = gemm_params(weight, inputs, panels, {});
    EXPECT_FALSE(test::emulate_dequantised(p, &dense, c.bytes));
    EXPECT_FALSE(test::emulate_dequantised(p, nullptr, kWorkspace));
    EXPECT_EQ(control_->products, 0);
  }
}

}  // namespace
}  // namespace penstock
