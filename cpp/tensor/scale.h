// How scales are chosen and values rounded to codes: one set of rules for weights, the KV cache and
// their kernels. Scales are bf16, rounded away from the values so that every value stays inside the
// code range. A group that holds a NaN or an infinity gets the scale NaN. Nothing here converts a
// float outside the range of an integer.
#pragma once

#include <bit>
#include <cstdint>

#include "tensor/dtype.h"

namespace penstock {

inline constexpr uint16_t kNanBf16 = 0x7fc0;

// Smallest bf16 >= value, for value >= 0 (also -0). A value that underflowed to 0 stays 0.
constexpr uint16_t bf16_round_up(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value) & 0x7fffffffu;
  if (bits > 0x7f800000u) return kNanBf16;
  return static_cast<uint16_t>((bits + 0xffffu) >> 16);
}

// Largest bf16 <= value.
constexpr uint16_t bf16_round_down(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return kNanBf16;
  const bool negative = (bits >> 31) != 0;
  return static_cast<uint16_t>((negative ? bits + 0xffffu : bits) >> 16);
}

// The scale of a range `span` (>= 0) over `steps` code steps; never 0 for a span that is not 0.
constexpr uint16_t scale_for(float span, float steps) {
  if (span == 0) return 0;  // -0 too
  const uint16_t scale = bf16_round_up(span / steps);
  return scale == 0 ? uint16_t{1} : scale;
}

// Round to nearest even for |value| < 2^22; adding and subtracting vectorises without SSE4.1.
constexpr float round_even(float value) { return (value + 0x1.8p23f) - 0x1.8p23f; }

// NaN becomes `low`.
constexpr float clamp_code(float value, float low, float high) {
  const float above = value > low ? value : low;
  return above < high ? above : high;
}

}  // namespace penstock
