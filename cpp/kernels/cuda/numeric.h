// Scalar functions of the CUDA kernels. Multiply-adds are written as such and nothing else is
// contracted, so the GPU and the emulator give the same bits.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/cuda/simt.h"
#include "kernels/params.h"
#include "tensor/dtype.h"
#include "tensor/scale.h"

namespace penstock::cuda {

template <class T>
constexpr T at_most(T a, T b) {
  return a < b ? a : b;
}
template <class T>
constexpr T at_least(T a, T b) {
  return a > b ? a : b;
}
constexpr int64_t blocks_of(int64_t n, int64_t step) { return (n + step - 1) / step; }

// Values that are as aligned as their size.
template <class T>
PENSTOCK_DEVICE inline T load(const std::byte* p) {
#if defined(__CUDA_ARCH__)
  return *reinterpret_cast<const T*>(p);
#else
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
#endif
}
template <class T>
PENSTOCK_DEVICE inline void store(std::byte* p, T value) {
#if defined(__CUDA_ARCH__)
  *reinterpret_cast<T*>(p) = value;
#else
  std::memcpy(p, &value, sizeof(T));
#endif
}
PENSTOCK_DEVICE inline uint32_t load_word(const std::byte* p) { return load<uint32_t>(p); }
// What one access moves at most.
struct alignas(16) Chunk {
  uint32_t words[4];
};
struct alignas(8) PairOfWords {
  uint32_t words[2];
};
// Four bytes of eight, by the nibbles of a selector from the lowest on: 0 to 3 are bytes of a, 4 to
// 7 those of b.
PENSTOCK_DEVICE inline uint32_t select_bytes(uint32_t a, uint32_t b, uint32_t selector) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(a, b, selector);
#else
  const uint64_t both = uint64_t{b} << 32 | a;
  uint32_t selected = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t byte = selector >> (4 * i) & 7u;
    selected |= static_cast<uint32_t>(both >> (8 * byte) & 255u) << (8 * i);
  }
  return selected;
#endif
}
PENSTOCK_DEVICE inline float low_bf16(uint32_t word) { return std::bit_cast<float>(word << 16); }
PENSTOCK_DEVICE inline float high_bf16(uint32_t word) {
  return std::bit_cast<float>(word & 0xffff0000u);
}

PENSTOCK_DEVICE inline float low_f16(uint32_t word) {
#if defined(__CUDA_ARCH__)
  float value;
  asm("{ .reg .b16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, low; }"
      : "=f"(value)
      : "r"(word));
  return value;
#else
  return float_from_f16(static_cast<uint16_t>(word));
#endif
}
PENSTOCK_DEVICE inline float high_f16(uint32_t word) { return low_f16(word >> 16); }

// Two fp16 numbers, to nearest, the first one in the low half.
PENSTOCK_DEVICE inline uint32_t f16_pair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#elif defined(__CUDA_ARCH__)
  uint32_t pair;
  asm("{ .reg .b16 low, high; cvt.rn.f16.f32 low, %1; cvt.rn.f16.f32 high, %2; "
      "mov.b32 %0, {low, high}; }"
      : "=r"(pair)
      : "f"(low), "f"(high));
  return pair;
#else
  return f16_from_float(low) | static_cast<uint32_t>(f16_from_float(high)) << 16;
#endif
}
// Two bf16 numbers, to nearest, the first one in the low half.
PENSTOCK_DEVICE inline uint32_t bf16_pair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return bf16_from_float(low) | static_cast<uint32_t>(bf16_from_float(high)) << 16;
#endif
}
// Two sums of two pairs of fp16 whole numbers, exact.
PENSTOCK_DEVICE inline uint32_t add_whole_f16(uint32_t a, uint32_t b) {
#if defined(__CUDA_ARCH__)
  uint32_t sum;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(sum) : "r"(a), "r"(b));
  return sum;
#else
  return f16_pair(low_f16(a) + low_f16(b), high_f16(a) + high_f16(b));
#endif
}
// Two bf16 numbers as fp16 ones, to nearest. Those beyond the largest fp16 number, infinity too,
// become it; NaN stays NaN. Below 2^-17 bits are lost, below 2^-25 all.
PENSTOCK_DEVICE inline uint32_t f16_from_bf16(uint32_t pair) {
  constexpr float kLargest = 65504.0f;
  float values[] = {low_bf16(pair), high_bf16(pair)};
  PENSTOCK_UNROLL
  for (float& value : values) {
    if (value > kLargest) value = kLargest;
    if (value < -kLargest) value = -kLargest;
  }
  return f16_pair(values[0], values[1]);
}

// Element `index` of raw values that are as aligned as an element.
PENSTOCK_DEVICE inline float raw_at(const std::byte* data, DType dtype, int64_t index) {
  if (dtype == DType::f32) return load<float>(data + index * 4);
  const uint16_t half = load<uint16_t>(data + index * 2);
  return dtype == DType::f16 ? float_from_f16(half) : float_from_bf16(half);
}

// 2^n for n of a normal number.
PENSTOCK_DEVICE inline float power_of_two(int n) {
  return std::bit_cast<float>(static_cast<uint32_t>(n + 127) << 23);
}

// Of a power of two from 2^-126 to 2^126.
PENSTOCK_DEVICE inline float inverse_power(float power) {
  return std::bit_cast<float>(0x7f000000u - std::bit_cast<uint32_t>(power));
}

PENSTOCK_DEVICE inline int32_t magnitude_bits(float x) {
  return static_cast<int32_t>(std::bit_cast<uint32_t>(x) & 0x7fffffffu);
}
// Of the power of two by which a row is divided to be fp16, if its largest magnitude has these
// bits: it comes to [2^14, 2^15), so nothing overflows, and values up to 2^28 times smaller keep
// the bits of a normal number. The power and its inverse are normal numbers; for rows of zeros they
// are 1.
PENSTOCK_DEVICE inline int f16_exponent(int32_t largest) {
  if (largest == 0) return 0;
  const int exponent = largest / (1 << 23) - 127 - 14;
  return at_least(-126, at_most(exponent, 127 - 14));
}

// e^x to 1e-7 relative; 0 below -104, infinity above 88.8, NaN stays NaN.
PENSTOCK_DEVICE inline float exp_of(float x) {
  if (x != x) return x;
  x = at_most(90.0f, at_least(-105.0f, x));
  const float n = round_even(x * 0x1.715476p0f);
  float r = fmaf(n, -0x1.62e4p-1f, x);
  r = fmaf(n, -1.4286068203e-06f, r);
  float p = 0x1.a18910p-13f;
  p = fmaf(p, r, 0x1.6d98dcp-10f);
  p = fmaf(p, r, 0x1.1110a0p-7f);
  p = fmaf(p, r, 0x1.55547cp-5f);
  p = fmaf(p, r, 0x1.555556p-3f);
  p = fmaf(p, r, 0.5f);
  p = fmaf(r * r, p, r) + 1.0f;
  const int whole = static_cast<int>(n), half = whole / 2;
  return p * power_of_two(half) * power_of_two(whole - half);
}

struct ExpOf {
  PENSTOCK_DEVICE float operator()(float x) const { return exp_of(x); }
};

// x / (1 + e^-s): with s = x this is silu.
PENSTOCK_DEVICE inline float sigmoid_times(float x, float s) { return x / (1.0f + exp_of(-s)); }

// x times the normal distribution function, by erfc(z) = e^(-z^2) t P(2t - 1), t = 1 / (1 + 0.4 z);
// the polynomial of the CPU kernels.
PENSTOCK_DEVICE inline float gelu(float x) {
  const float z = at_most(14.0f, fabsf(x * 0x1.6a09e6p-1f));
  const float t = 1.0f / fmaf(z, 0.4f, 1.0f), u = t + t - 1.0f;
  const float factors[] = {0x1.ea349ap-13f, 0x1.b72e62p-13f, -0x1.f4201ep-10f,
                           -0x1.b9e56cp-9f, 0x1.739e0ep-7f,  0x1.189630p-4f,
                           0x1.73d8d8p-3f,  0x1.4995d6p-2f,  0x1.afbb3ep-2f};
  float p = -0x1.87d3f0p-15f;
  for (const float factor : factors) p = fmaf(p, u, factor);
  const float half_erfc = 0.5f * (exp_of(-(z * z)) * (t * p));
  return x * (x < 0 ? half_erfc : 1.0f - half_erfc);
}

PENSTOCK_DEVICE inline float act_of(Act act, float x) {
  switch (act) {
    case Act::none:
      return x;
    case Act::relu:
      return x != x || x > 0 ? x : 0.0f;
    case Act::gelu:
      return x != x ? x : gelu(x);
    case Act::gelu_tanh: {
      const float inner = fmaf(x * x * x, 0.044715f, x);
      return sigmoid_times(x, inner * 1.5957691216f);  // 2 sqrt(2 / pi)
    }
    case Act::silu:
      return sigmoid_times(x, x);
  }
  return x;
}

// A reduction over a block, through `room` (a value a warp) in shared memory; ends in step.
template <class Thread, class T, class Join>
PENSTOCK_DEVICE inline T over_block(const Thread& on, T* room, T value, Join join) {
  value = on.over_warp(value, join);
  on.sync();  // room may still be read from the last time
  if (on.thread() % kWarp == 0) room[on.thread() / kWarp] = value;
  on.sync();
  value = room[0];
  for (int warp = 1; warp < on.threads() / kWarp; ++warp) value = join(value, room[warp]);
  return value;
}
struct Add {
  template <class T>
  PENSTOCK_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Largest {  // of numbers; a NaN loses
  template <class T>
  PENSTOCK_DEVICE T operator()(T a, T b) const {
    return b > a || a != a ? b : a;
  }
};
struct Smallest {
  template <class T>
  PENSTOCK_DEVICE T operator()(T a, T b) const {
    return b < a || a != a ? b : a;
  }
};

}  // namespace penstock::cuda
