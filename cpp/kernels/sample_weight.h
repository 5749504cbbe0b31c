// Arithmetic of drawing a token that the host and GPUs share. A logit weighs a whole number, so
// that sums are the same in any order, on any device, in any number of threads; a product and a sum
// of doubles are rounded apart everywhere (nothing is contracted).
#pragma once

#include <bit>
#include <cstdint>

namespace penstock {

inline constexpr int kSampleWeightBits = 38;  // of the best logit
// Sums of weights of so many logits, and of the parts that GPUs add, have room.
inline constexpr int64_t kMostSampled = int64_t{1} << 19;

// round(2^38 e^x) for x <= 0, to the last place; 0 for a NaN and where less than half is left.
constexpr uint64_t sample_weight(double x) {
  const double powers = x * 0x1.71547652b82fep+0;  // log2(e)
  if (!(powers >= -(kSampleWeightBits + 1))) return 0;
  constexpr double kRound = 0x1.8p52;  // adding it leaves no binary places
  const double n = (powers + kRound) - kRound;
  const double r = (powers - n) * 0x1.62e42fefa39efp-1;  // ln 2
  // e^r by its series: r is at most 0.347, what is left out below 2^-46.
  constexpr double kFactors[] = {1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
                                 1.0 / 720,     1.0 / 120,    1.0 / 24,    1.0 / 6,
                                 1.0 / 2,       1.0,          1.0};
  double sum = 1.0 / 39916800;
  for (const double factor : kFactors) sum = factor + sum * r;
  const auto exponent = static_cast<uint64_t>(1023 + kSampleWeightBits + static_cast<int64_t>(n));
  return static_cast<uint64_t>(sum * std::bit_cast<double>(exponent << 52) + 0.5);
}

// The least mass of best logits that holds top_p of all.
constexpr uint64_t sample_top_mass(double top_p, uint64_t total) {
  const double wanted = top_p * static_cast<double>(total);
  auto mass = static_cast<uint64_t>(wanted);
  if (static_cast<double>(mass) < wanted) ++mass;
  if (mass < 1) return 1;
  return mass < total ? mass : total;
}

// The first logit, by index, with which sums reach this mass is drawn.
constexpr uint64_t sample_drawn_mass(double uniform, uint64_t total) {
  const auto below = static_cast<uint64_t>(uniform * static_cast<double>(total));
  return below < total ? below + 1 : total;
}

}  // namespace penstock
