// Element types of raw (unquantised) tensors, and exact scalar conversions to and from fp32.
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
inline uint16_t bf16_from_float(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<uint16_t>(bits >> 16);
}
inline float float_from_bf16(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}
uint16_t f16_from_float(float value);  // IEEE binary16, round to nearest even, overflow to infinity
float float_from_f16(uint16_t value);

// Reads element `index` of a raw array of any alignment.
float load_as_float(const void* data, DType dtype, int64_t index);
void store_from_float(void* data, DType dtype, int64_t index, float value);

}  // namespace penstock
