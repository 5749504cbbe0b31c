// The dtype names of the safetensors format: which exist, how wide they are, which we read.
#pragma once

#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace penstock {

struct RawDType {
  std::string_view name;  // as written in the header, case matters
  int bits = 0;
  std::optional<DType> readable;  // empty: known, listed, not read
};

const RawDType* find_raw_dtype(std::string_view name);  // nullptr: not a name of the format
inline constexpr std::string_view kReadableDTypes = "F32, F16, BF16";

}  // namespace penstock
