// Strict JSON for untrusted files, over nlohmann_json: depth <= 32, duplicate keys refused at every level, no NaN, comments,
// trailing commas or BOM, valid UTF-8, no NUL in strings. Used for headers, indexes and (by its text) config.json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace penstock {

using Json = nlohmann::json;

// Throws Error(malformed) with file and byte offset.
Json parse_strict_json(std::string_view text, const std::string& file);

}  // namespace penstock
