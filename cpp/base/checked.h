// Checked 64-bit arithmetic for every size, offset and count that comes from outside. Overflow
// throws Error(malformed) naming `what`.
#pragma once

#include <cstdint>
#include <string_view>

namespace penstock {

int64_t checked_add(int64_t a, int64_t b, std::string_view what);
int64_t checked_mul(int64_t a, int64_t b, std::string_view what);

// Rounds a non-negative value up to a multiple of `unit` (> 0); unchecked: for our own small sizes.
constexpr int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }
constexpr int64_t round_down(int64_t value, int64_t unit) { return value / unit * unit; }
constexpr int64_t ceil_div(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

}  // namespace penstock
