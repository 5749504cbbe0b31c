#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/random.h"

namespace penstock {
namespace {

// IEEE binary16 from its definition.
double half_value(uint16_t half) {
  const int exponent = (half >> 10) & 31, mantissa = half & 1023;
  const double sign = half >> 15 ? -1.0 : 1.0;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(DType, EveryHalfConvertsAndComesBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float value = float_from_f16(half);
    const double expected = half_value(half);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(std::isnan(half_value(f16_from_float(value))));
      continue;
    }
    ASSERT_EQ(value, expected) << bits;
    ASSERT_EQ(std::signbit(value), half >> 15 != 0);
    ASSERT_EQ(f16_from_float(value), half) << bits;
  }
}

TEST(DType, EveryBf16ConvertsAndComesBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float value = float_from_bf16(half);
    uint32_t wide;
    std::memcpy(&wide, &value, 4);
    ASSERT_EQ(wide, bits << 16);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(float_from_bf16(bf16_from_float(value))));
    } else {
      ASSERT_EQ(bf16_from_float(value), half);
    }
  }
}

// Rounding to the nearest of two neighbours, ties to the even one, checked between all neighbours.
template <class ToHalf, class ToFloat>
void expect_rounds_to_even(uint16_t largest, ToHalf to_half, ToFloat to_float) {
  for (uint16_t low = 0; low < largest; ++low) {
    const double a = to_float(low), b = to_float(static_cast<uint16_t>(low + 1));
    const float middle = static_cast<float>((a + b) / 2);  // exact: one more bit
    const uint16_t even = static_cast<uint16_t>(low + (low & 1));
    ASSERT_EQ(to_half(middle), even) << low;
    ASSERT_EQ(to_half(std::nextafter(middle, 0.0f)), low);
    ASSERT_EQ(to_half(std::nextafter(middle, INFINITY)), low + 1);
    ASSERT_EQ(to_half(-middle), even | 0x8000);
  }
}

TEST(DType, RoundsToNearestEven) {
  expect_rounds_to_even(0x7bff, f16_from_float, float_from_f16);
  expect_rounds_to_even(0x7f7f, bf16_from_float, float_from_bf16);
}

TEST(DType, OverflowBecomesInfinity) {
  EXPECT_EQ(f16_from_float(65519.996f), 0x7bff);
  EXPECT_EQ(f16_from_float(65520.0f), 0x7c00);
  EXPECT_EQ(f16_from_float(-1e30f), 0xfc00);
  EXPECT_EQ(f16_from_float(INFINITY), 0x7c00);
  EXPECT_EQ(bf16_from_float(3.4e38f), 0x7f80);
  EXPECT_EQ(f16_from_float(-1e-30f), 0x8000);
}

TEST(DType, ArraysOfAnyAlignment) {
  std::vector<std::byte> bytes(64);
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    store_from_float(bytes.data() + 1, dtype, 3, -2.5f);
    store_from_float(bytes.data() + 1, dtype, 2, 0.75f);
    EXPECT_EQ(load_as_float(bytes.data() + 1, dtype, 3), -2.5f);
    EXPECT_EQ(load_as_float(bytes.data() + 1, dtype, 2), 0.75f);
    EXPECT_EQ(load_as_float(bytes.data() + 1 + dtype_bytes(dtype), dtype, 2), -2.5f);
  }
}

TEST(DType, Names) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    EXPECT_EQ(dtype_from_name(dtype_name(dtype)), dtype);
  }
  EXPECT_EQ(dtype_from_name("float32"), DType::f32);
  EXPECT_EQ(dtype_from_name("float16"), DType::f16);
  EXPECT_EQ(dtype_from_name("bfloat16"), DType::bf16);
  try {
    dtype_from_name("int3");
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("int3"), std::string::npos);
  }
}

}  // namespace
}  // namespace penstock
