// Counter-based random numbers: a value is a pure function of (seed, counter), so a row's tokens
// depend on its own seed and position only, in whatever order and company it is computed.
// SplitMix64 finaliser (Steele, Lea, Flood 2014) over both words.
#pragma once

#include <cstdint>

namespace penstock {

constexpr uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// Uniform in [0, 1), 53 bits.
constexpr double uniform(uint64_t seed, uint64_t counter) {
  return static_cast<double>(mix64(mix64(seed) ^ mix64(~counter)) >> 11) * 0x1.0p-53;
}

}  // namespace penstock
