// Element types of raw (unquantised) tensors, and exact scalar conversions to and from fp32. They
// are constexpr so that CUDA kernels may use them too.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace penstock {

enum class DType : uint8_t { f32, f16, bf16 };

constexpr int dtype_bytes(DType dtype) { return dtype == DType::f32 ? 4 : 2; }
std::string_view dtype_name(DType dtype);  // "fp32", "fp16", "bf16"
DType dtype_from_name(
    std::string_view name);  // also "float32", "float16", "bfloat16"; throws Error(unsupported)

// Round to nearest even; NaN stays NaN.
constexpr uint16_t bf16_from_float(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<uint16_t>(bits >> 16);
}
constexpr float float_from_bf16(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}
// Shifts `value` right by `bits` (1..31), rounding to nearest, ties to even.
constexpr uint32_t shift_round_even(uint32_t value, int bits) {
  const uint32_t half = uint32_t{1} << (bits - 1);
  const uint32_t rest = value & ((uint32_t{1} << bits) - 1);
  const uint32_t kept = value >> bits;
  return kept + ((rest > half || (rest == half && (kept & 1u))) ? 1u : 0u);
}

// IEEE binary16, round to nearest even, overflow to infinity.
constexpr uint16_t f16_from_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  }
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);  // >= 65536
  if (magnitude >= 0x38800000u) {                                              // normal
    return static_cast<uint16_t>(sign | shift_round_even(magnitude - 0x38000000u, 13));
  }
  if (magnitude < 0x33000000u) return static_cast<uint16_t>(sign);  // < 2^-25
  const int exponent = static_cast<int>(magnitude >> 23);
  const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  return static_cast<uint16_t>(sign | shift_round_even(mantissa, 126 - exponent));
}

constexpr float float_from_f16(uint16_t value) {
  const uint32_t sign = static_cast<uint32_t>(value & 0x8000u) << 16;
  const uint32_t exponent = (value >> 10) & 0x1fu;
  const uint32_t mantissa = value & 0x3ffu;
  if (exponent == 0x1f) {
    const uint32_t quiet = mantissa != 0 ? 0x400000u : 0u;
    return std::bit_cast<float>(sign | 0x7f800000u | quiet | (mantissa << 13));
  }
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

// Reads element `index` of a raw array of any alignment.
float load_as_float(const void* data, DType dtype, int64_t index);
void store_from_float(void* data, DType dtype, int64_t index, float value);

}  // namespace penstock
