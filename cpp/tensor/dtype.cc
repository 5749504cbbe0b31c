#include "tensor/dtype.h"

#include <cstring>
#include <string>

#include "base/error.h"

namespace penstock {
namespace {

// Shifts `value` right by `bits` (1..31), rounding to nearest, ties to even.
uint32_t shift_round_even(uint32_t value, int bits) {
  const uint32_t half = uint32_t{1} << (bits - 1);
  const uint32_t rest = value & ((uint32_t{1} << bits) - 1);
  const uint32_t kept = value >> bits;
  return kept + ((rest > half || (rest == half && (kept & 1u))) ? 1u : 0u);
}

template <class T>
T load_element(const void* data, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(data) + index * int64_t{sizeof(T)}, sizeof(T));
  return value;
}

template <class T>
void store_element(void* data, int64_t index, T value) {
  std::memcpy(static_cast<std::byte*>(data) + index * int64_t{sizeof(T)}, &value, sizeof(T));
}

}  // namespace

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "fp32";
    case DType::f16:
      return "fp16";
    case DType::bf16:
      return "bf16";
  }
  return "unknown";
}

DType dtype_from_name(std::string_view name) {
  if (name == "fp32" || name == "float32") return DType::f32;
  if (name == "fp16" || name == "float16") return DType::f16;
  if (name == "bf16" || name == "bfloat16") return DType::bf16;
  throw Error(ErrorCode::unsupported, "unknown element type",
              ErrorDetail{.file = {},
                          .field = {},
                          .found = escape_for_message(name),
                          .allowed = "fp32, fp16, bf16, float32, float16, bfloat16"});
}

uint16_t f16_from_float(float value) {
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

float float_from_f16(uint16_t value) {
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

float load_as_float(const void* data, DType dtype, int64_t index) {
  switch (dtype) {
    case DType::f32:
      return load_element<float>(data, index);
    case DType::f16:
      return float_from_f16(load_element<uint16_t>(data, index));
    case DType::bf16:
      return float_from_bf16(load_element<uint16_t>(data, index));
  }
  return 0.0f;
}

void store_from_float(void* data, DType dtype, int64_t index, float value) {
  switch (dtype) {
    case DType::f32:
      return store_element<float>(data, index, value);
    case DType::f16:
      return store_element<uint16_t>(data, index, f16_from_float(value));
    case DType::bf16:
      return store_element<uint16_t>(data, index, bf16_from_float(value));
  }
}

}  // namespace penstock
