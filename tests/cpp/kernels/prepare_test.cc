#include <gtest/gtest.h>

#include <cmath>

#include "support/kernels.h"
#include "support/reference.h"

namespace penstock {
namespace {

using test::AlignedBytes;
using test::Random;
using test::TestContext;

TEST(PreparedLayout, MatchesWhatAPlanSetsAside) {
  for (const QuantFormat& format : format_table()) {
    if (!format.for_weights) continue;
    for (const Compute compute : {Compute::fast, Compute::weight_only, Compute::exact}) {
      for (int64_t k = 1; k < 5000; k += 37) {
        const PreparedLayout layout = prepared_layout_for(format, k, compute);
        EXPECT_EQ(layout.stride_bytes, prepared_row_bytes(format, k, compute)) << format.name << k;
        EXPECT_EQ(layout.padded_k % kTileK, 0);
        EXPECT_GE(layout.padded_k, k);
        EXPECT_EQ(layout.stride_bytes % 64, 0);
        const RawInputs half{InputKind::f16, InputKind::f16};
        EXPECT_LE(prepared_layout_for(format, k, compute, half).stride_bytes, layout.stride_bytes);
      }
    }
  }
}

TEST(Prepare, KeepsOrRoundsTheValues) {
  const TestContext context(2);
  for (const int64_t k : {1, 31, 128, 130, 517}) {
    const int64_t m = 5, stride = k + 3;
    const std::vector<float> x = Random(1).normals(m * stride, 3.0f);
    for (const InputKind kind : {InputKind::f32, InputKind::bf16}) {
      const PreparedLayout layout = prepared_layout(kind, k, 0);
      test::for_each_isa([&](const KernelTable& table) {
        AlignedBytes out(m * layout.stride_bytes);
        table.prepare({x.data(), stride, m, layout, out.data()}, context);
        const DType dtype = kind == InputKind::f32 ? DType::f32 : DType::bf16;
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < layout.padded_k; ++j) {
            const float value = j < k ? x[static_cast<size_t>(i * stride + j)] : 0.0f;
            const float expected =
                kind == InputKind::f32 ? value : float_from_bf16(bf16_from_float(value));
            ASSERT_EQ(load_as_float(out.data() + i * layout.stride_bytes, dtype, j), expected);
          }
        }
      });
    }
  }
}

void expect_int8_row(const PreparedLayout& layout, const float* x, const std::byte* row) {
  for (int64_t b = 0; b < layout.blocks; ++b) {
    const float scale = load_as_float(row + layout.scales_offset, DType::f32, b);
    int32_t stored_sum;
    std::memcpy(&stored_sum, row + layout.scales_offset + (layout.blocks + b) * 4, 4);
    float largest = 0;
    int32_t sum = 0;
    for (int64_t j = b * layout.block; j < (b + 1) * layout.block; ++j) {
      const int code = static_cast<int8_t>(row[j]);
      const float value = j < layout.k ? x[j] : 0.0f;
      sum += code;
      largest = std::max(largest, std::abs(value));
      ASSERT_LE(std::abs(code * double{scale} - value), 0.50001 * scale) << "value " << j;
    }
    ASSERT_FLOAT_EQ(scale, largest / 127.0f);
    ASSERT_EQ(stored_sum, sum);
  }
  for (int64_t j = layout.blocks * layout.block; j < layout.padded_k; ++j) {
    ASSERT_EQ(row[j], std::byte{0});
  }
}

TEST(Prepare, Int8HasOneScaleAndSumPerBlock) {
  const TestContext context(2);
  for (const int64_t block : {32, 64, 128}) {
    for (const int64_t k : {1, 32, 33, 128, 200, 1030}) {
      const int64_t m = 4;
      const std::vector<float> x = Random(2).normals(m * k, 5.0f);
      const PreparedLayout layout = prepared_layout(InputKind::int8, k, block);
      test::for_each_isa([&](const KernelTable& table) {
        AlignedBytes out(m * layout.stride_bytes);
        table.prepare({x.data(), k, m, layout, out.data()}, context);
        for (int64_t i = 0; i < m; ++i) {
          expect_int8_row(layout, x.data() + i * k, out.data() + i * layout.stride_bytes);
        }
      });
    }
  }
}

TEST(Prepare, Int8CodesAreTheSameOnEveryIsa) {
  const TestContext context(1);
  const int64_t k = 700;
  const std::vector<float> x = Random(3).normals(k);
  const PreparedLayout layout = prepared_layout(InputKind::int8, k, 64);
  AlignedBytes expected(layout.stride_bytes, 0);
  kernel_table("portable").prepare({x.data(), k, 1, layout, expected.data()}, context);
  test::for_each_isa([&](const KernelTable& table) {
    AlignedBytes out(layout.stride_bytes, 0);
    table.prepare({x.data(), k, 1, layout, out.data()}, context);
    EXPECT_EQ(std::memcmp(out.data(), expected.data(), out.size()), 0);
  });
}

TEST(Prepare, BlocksWithoutARange) {
  const TestContext context(1);
  const int64_t k = 320;
  std::vector<float> x = Random(4).normals(k);
  for (int64_t j = 0; j < 64; ++j) x[static_cast<size_t>(j)] = 0.0f;
  x[70] = NAN;
  x[140] = INFINITY;
  for (int64_t j = 192; j < 256; ++j) x[static_cast<size_t>(j)] = 3e38f;
  const PreparedLayout layout = prepared_layout(InputKind::int8, k, 64);
  test::for_each_isa([&](const KernelTable& table) {
    AlignedBytes out(layout.stride_bytes);
    table.prepare({x.data(), k, 1, layout, out.data()}, context);
    const auto scale = [&](int64_t b) {
      return load_as_float(out.data() + layout.scales_offset, DType::f32, b);
    };
    EXPECT_EQ(scale(0), 0.0f);
    EXPECT_TRUE(std::isnan(scale(1)));
    EXPECT_TRUE(std::isnan(scale(2)));
    EXPECT_FLOAT_EQ(scale(3), 3e38f / 127.0f);
    EXPECT_GT(scale(4), 0.0f);
    for (int64_t j = 192; j < 256; ++j) EXPECT_EQ(static_cast<int8_t>(out.data()[j]), 127);
  });
}

// ---- fp16 inputs, of CUDA kernels only ---------------------------------------------------------

TEST(PreparedLayout, HalfRowsEndWithAScale) {
  for (int64_t k = 1; k < 5000; k += 37) {
    const PreparedLayout layout = prepared_layout(InputKind::f16, k, 0);
    EXPECT_EQ(layout.kind, InputKind::f16);
    EXPECT_EQ(layout.padded_k % kTileK, 0);
    EXPECT_GE(layout.padded_k, k);
    EXPECT_EQ(layout.scales_offset, layout.padded_k * 2);
    EXPECT_GE(layout.stride_bytes, layout.scales_offset + 4);
    EXPECT_EQ(layout.stride_bytes % 128, 64);  // an odd number of cache lines
  }
}

// The largest magnitude is brought to [2^14, 2^15) by a power of two that is a normal number.
void expect_half_row(const PreparedLayout& layout, const float* x, const std::byte* row) {
  float largest = 0;
  for (int64_t k = 0; k < layout.k; ++k) largest = std::max(largest, std::abs(x[k]));
  int exponent = 0;  // largest = [0.5, 1) * 2^exponent
  std::frexp(largest, &exponent);
  const int power = largest == 0 ? 0 : std::max(-126, exponent - 15);
  ASSERT_EQ(load_as_float(row + layout.scales_offset, DType::f32, 0), std::ldexp(1.0f, power));
  for (int64_t k = 0; k < layout.padded_k; ++k) {
    uint16_t found;
    std::memcpy(&found, row + k * 2, 2);
    const float value = k < layout.k ? std::ldexp(x[k], -power) : 0.0f;
    ASSERT_LT(std::abs(value), 32768.0f);
    ASSERT_EQ(found, f16_from_float(value)) << "value " << k;
  }
  for (int64_t at = layout.scales_offset + 4; at < layout.stride_bytes; ++at) {
    ASSERT_EQ(row[at], std::byte{0x7f}) << "behind the scale";
  }
}

TEST(Prepare, HalfRowsAreScaledByAPowerOfTwo) {
  const TestContext context(1);
  const float magnitudes[] = {1, 1e6f, 1e-6f, 1e-40f, 3e37f, 0};
  for (const int64_t k : {1, 2, 31, 128, 130, 1517}) {
    const int64_t stride = k + 3;
    const PreparedLayout layout = prepared_layout(InputKind::f16, k, 0);
    std::vector<float> x = Random(5).normals(6 * stride);
    for (int64_t at = 0; at < 6 * stride; ++at) {
      x[static_cast<size_t>(at)] *= magnitudes[at / stride];
    }
    x[static_cast<size_t>(3 * stride)] = -0x1.fffp-136f;  // rounds up, and is the largest
    x[static_cast<size_t>(4 * stride + k - 1)] = 3.4e38f;
    AlignedBytes out(6 * layout.stride_bytes);
    test::cuda_kernel_table().prepare({x.data(), stride, 6, layout, out.data()}, context);
    for (int64_t i = 0; i < 6; ++i) {
      SCOPED_TRACE(testing::Message() << "row " << i << " of " << k);
      expect_half_row(layout, x.data() + i * stride, out.data() + i * layout.stride_bytes);
    }
  }
}

TEST(Prepare, HalfRowsKeepNanAndInfinity) {
  const TestContext context(1);
  const int64_t k = 300;
  std::vector<float> x = Random(6).normals(3 * k);
  x[5] = NAN;
  x[static_cast<size_t>(2 * k + 7)] = -INFINITY;
  const PreparedLayout layout = prepared_layout(InputKind::f16, k, 0);
  AlignedBytes out(3 * layout.stride_bytes);
  test::cuda_kernel_table().prepare({x.data(), k, 3, layout, out.data()}, context);
  const auto at = [&](int64_t row, int64_t i) {
    return load_as_float(out.data() + row * layout.stride_bytes, DType::f16, i);
  };
  EXPECT_TRUE(std::isnan(at(0, 5)));
  EXPECT_EQ(at(2, 7), -INFINITY);
  for (const int64_t row : {0, 2}) {
    const std::byte* scale = out.data() + row * layout.stride_bytes + layout.scales_offset;
    EXPECT_TRUE(std::isfinite(load_as_float(scale, DType::f32, 0)));
    EXPECT_TRUE(std::isfinite(at(row, 6)));
  }
  expect_half_row(layout, x.data() + k, out.data() + layout.stride_bytes);
}

}  // namespace
}  // namespace penstock
