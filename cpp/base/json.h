// Strict JSON for untrusted files as a tree, over nlohmann_json. Refused: nesting deeper than the
// limit, duplicate keys at any level, NaN, infinities, comments, trailing commas, a byte order
// mark, anything after the value, raw or escaped NUL, invalid UTF-8 and lone surrogates, `-0`, and
// integers beyond 64 bits (they would silently become floats). An integer is a number written
// without point and exponent: is_number_integer() tells it from a float.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/json_events.h"

namespace penstock {

using Json = nlohmann::json;

// Throws Error(malformed) with the file and, as field, "offset N" (bytes).
Json parse_strict_json(std::string_view text, const std::string& file,
                       const JsonLimits& limits = {});

}  // namespace penstock
