// The UTF-8 encoding, strictly: no overlong forms, no surrogates, nothing beyond U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace penstock {

// Length of the valid sequence at the start of `text` and its code point; length 0 if none.
struct Utf8Sequence {
  size_t length = 0;
  uint32_t point = 0;
};
Utf8Sequence decode_utf8(std::string_view text);  // `text` is not empty

bool is_utf8(std::string_view text);

}  // namespace penstock
