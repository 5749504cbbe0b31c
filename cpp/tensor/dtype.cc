#include "tensor/dtype.h"

#include <cstring>
#include <string>

#include "base/error.h"

namespace penstock {
namespace {

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
