// Arithmetic of drawing a token that the host and GPUs share. A logit weighs a whole number, so
// that sums are the same in any order, on any device, in any number of threads; a product and a sum
// of doubles are rounded apart everywhere (nothing is contracted). Static, so that each file has
// the instructions it is compiled with.
#pragma once

#include <cstdint>

namespace penstock {

inline constexpr int kSampleWeightBits = 38;  // of the best logit
// Sums of weights of so many logits, and of the parts that GPUs add, have room.
inline constexpr int64_t kMostSampled = int64_t{1} << 19;

static constexpr uint64_t sample_mask(bool keep) { return keep ? ~uint64_t{0} : 0; }

// 2^38 e^x to the nearest whole number, to the last place, for x <= 0; 0 for a NaN and where less
// than half is left. No branch and no conversion: compilers make vectors of it.
static constexpr uint64_t sample_weight(double x) {
  constexpr double kWhole = 0x1p52, kRound = 0x1.8p52;  // adding it leaves no binary places
  const double powers = x * 0x1.71547652b82fep+0;       // log2(e)
  const double shifted = powers + kRound;               // whole powers, in the lowest bits
  const double r = (powers - (shifted - kRound)) * 0x1.62e42fefa39efp-1;  // ln 2
  // e^r by its series: r is at most 0.347, what is left out below 2^-46.
  double sum = 1.0 / 39916800;
  sum = 1.0 / 3628800 + sum * r;
  sum = 1.0 / 362880 + sum * r;
  sum = 1.0 / 40320 + sum * r;
  sum = 1.0 / 5040 + sum * r;
  sum = 1.0 / 720 + sum * r;
  sum = 1.0 / 120 + sum * r;
  sum = 1.0 / 24 + sum * r;
  sum = 1.0 / 6 + sum * r;
  sum = 1.0 / 2 + sum * r;
  sum = 1.0 + sum * r;
  sum = 1.0 + sum * r;
  const uint64_t exponent = __builtin_bit_cast(uint64_t, shifted) + kSampleWeightBits;
  const uint64_t scaled = __builtin_bit_cast(uint64_t, sum) + (exponent << 52);
  const double placed = __builtin_bit_cast(double, scaled) + kWhole;
  const uint64_t weight = __builtin_bit_cast(uint64_t, placed) & ((uint64_t{1} << 52) - 1);
  return weight & sample_mask(powers >= -(kSampleWeightBits + 1));
}

// What a row's logits are weighed by.
struct SampleScale {
  float top;  // the best logit
  double scale, floor;
};
static constexpr uint64_t sample_weight(float score, const SampleScale& by) {
  const double x = (static_cast<double>(score) - static_cast<double>(by.top)) * by.scale;
  return sample_weight(x) & sample_mask(!(x < by.floor));
}

// Bins by the distance from the best logit, six a power of two, to find the best ones with.
inline constexpr int kSampleBins = 256;
static constexpr float sample_bin_rate(double scale) {
  const double wanted = scale * 8.65;
  return wanted < 1e30 ? static_cast<float>(wanted) : 1e30f;
}
static constexpr int32_t sample_bin(float score, float top, float rate) {
  const float distance = (top - score) * rate;
  return distance < kSampleBins - 1 ? static_cast<int32_t>(distance) : kSampleBins - 1;
}

// The least mass of best logits that holds top_p of all.
static constexpr uint64_t sample_top_mass(double top_p, uint64_t total) {
  const double wanted = top_p * static_cast<double>(total);
  auto mass = static_cast<uint64_t>(wanted);
  if (static_cast<double>(mass) < wanted) ++mass;
  if (mass < 1) return 1;
  return mass < total ? mass : total;
}

// The first logit, by index, with which sums reach this mass is drawn.
static constexpr uint64_t sample_drawn_mass(double uniform, uint64_t total) {
  const auto below = static_cast<uint64_t>(uniform * static_cast<double>(total));
  return below < total ? below + 1 : total;
}

// Many at a time, on the host.
inline constexpr int kWeighed = 256;
static inline void weigh_samples(const float* scores, const SampleScale& by, uint64_t* weights) {
  for (int i = 0; i < kWeighed; ++i) weights[i] = sample_weight(scores[i], by);
}

}  // namespace penstock
