// The vector words of the kernel bodies in 4 lanes of the compiler's own vector type: runs on every
// processor; see vec_avx512.h. Multiply-add is a product and a sum. Little-endian only.
#pragma once

typedef float vf __attribute__((vector_size(16)));
typedef uint32_t vi __attribute__((vector_size(16)));
typedef int32_t vsigned __attribute__((vector_size(16)));
typedef int16_t vshort __attribute__((vector_size(16)));
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
constexpr int kLanes = 4;
constexpr int kRowVectors = 4;
constexpr int kMaxRows = 2;
constexpr int kMaxIntRows = 2;  // the same with int8 inputs
constexpr int64_t kDepth = 512;

inline vf vset(float x) { return vf{x, x, x, x}; }
inline vf vzero() { return vf{}; }
inline vf vload(const float* p) {
  vf x;
  __builtin_memcpy(&x, p, 16);
  return x;
}
inline vf vload_n(const float* p, int64_t n) {
  float x[4] = {};
  for (int64_t i = 0; i < 4 && i < n; ++i) x[i] = p[i];
  return vload(x);
}
inline void vstore(float* p, vf x) { __builtin_memcpy(p, &x, 16); }
inline void vstore_n(float* p, vf x, int64_t n) {
  for (int64_t i = 0; i < 4 && i < n; ++i) p[i] = x[i];
}
inline vi vbits(vf a) { return reinterpret_cast<vi>(a); }
inline vf vfrom_bits(vi a) { return reinterpret_cast<vf>(a); }
inline vi vpick(vsigned mask, vi a, vi b) {
  const vi m = reinterpret_cast<vi>(mask);
  return (a & m) | (b & ~m);
}
inline vf vadd(vf a, vf b) { return a + b; }
inline vf vsub(vf a, vf b) { return a - b; }
inline vf vmul(vf a, vf b) { return a * b; }
inline vf vdiv(vf a, vf b) { return a / b; }
inline vf vfma(vf a, vf b, vf c) { return a * b + c; }
inline vf vmax(vf a, vf b) { return vfrom_bits(vpick(a > b, vbits(a), vbits(b))); }
inline vf vmin(vf a, vf b) { return vfrom_bits(vpick(a < b, vbits(a), vbits(b))); }
inline vf vround(vf a) {  // |a| < 2^22, as all bodies guarantee
  const vf big = vset(0x1.8p23f);
  return (a + big) - big;
}
inline float vsum(vf a) { return (a[0] + a[2]) + (a[1] + a[3]); }
inline float vfirst(vf a) { return a[0]; }
inline float larger(float a, float b) { return a > b ? a : b; }
inline float smaller(float a, float b) { return a < b ? a : b; }
inline float vlargest(vf a) { return larger(larger(a[0], a[1]), larger(a[2], a[3])); }
inline float vsmallest(vf a) { return smaller(smaller(a[0], a[1]), smaller(a[2], a[3])); }
inline vf vselect_negative(vf sign, vf a, vf b) {
  return vfrom_bits(vpick(sign < vzero(), vbits(a), vbits(b)));
}
inline vf vselect_range(vf inside, vf outside, int64_t begin, int64_t end) {
  vf x = outside;
  for (int64_t i = 0; i < 4; ++i) x[i] = i >= begin && i < end ? inside[i] : outside[i];
  return x;
}

inline vi vset_i(int32_t x) {
  const uint32_t u = static_cast<uint32_t>(x);
  return vi{u, u, u, u};
}
inline vi vadd_i(vi a, vi b) { return a + b; }
inline vi vsub_i(vi a, vi b) { return a - b; }
inline vi vand_i(vi a, vi b) { return a & b; }
inline vi vor_i(vi a, vi b) { return a | b; }
inline vi vselect_greater(vi a, vi b, vi x, vi y) {
  return vpick(reinterpret_cast<vsigned>(a) > reinterpret_cast<vsigned>(b), x, y);
}
inline vi vmax_i(vi a, vi b) { return vselect_greater(a, b, a, b); }
template <int kBits>
inline vi vshift_left(vi a) {
  return a << kBits;
}
template <int kBits>
inline vi vshift_right(vi a) {
  return a >> kBits;
}
inline vf vto_float(vi a) { return __builtin_convertvector(reinterpret_cast<vsigned>(a), vf); }
// Through the sum with 1.5 * 2^23: its low bits are the integer, and a NaN is no undefined
// conversion.
inline vi vto_int(vf a) { return vbits(a + vset(0x1.8p23f)) - vset_i(0x4b400000); }
inline int32_t vsum_i(vi a) { return static_cast<int32_t>(a[0] + a[1] + a[2] + a[3]); }
inline int32_t vlargest_i(vi a) {
  const vsigned s = reinterpret_cast<vsigned>(a);
  const int32_t low = s[0] > s[1] ? s[0] : s[1], high = s[2] > s[3] ? s[2] : s[3];
  return low > high ? low : high;
}
inline vf vscale2(vf p, vf n) {
  const vi whole = vto_int(n);
  const vi half = reinterpret_cast<vi>(reinterpret_cast<vsigned>(whole) >> 1);
  const vi bias = vset_i(127);
  return p * vfrom_bits((half + bias) << 23) * vfrom_bits((whole - half + bias) << 23);
}

inline vi vload_u16(const void* p) {
  uint16_t x[4];
  __builtin_memcpy(x, p, 8);
  return vi{x[0], x[1], x[2], x[3]};
}
inline vi vload_u8(const void* p) {
  uint8_t x[4];
  __builtin_memcpy(x, p, 4);
  return vi{x[0], x[1], x[2], x[3]};
}
// Moving the exponent up by a product makes normal and subnormal halves alike; infinities and NaN
// are put in by hand.
inline vf vload_f16(const void* p) {
  const vi half = vload_u16(p);
  const vi magnitude = half & vset_i(0x7fff);
  const vi shifted = magnitude << 13;
  const vi scaled = vbits(vfrom_bits(shifted) * vset(0x1p112f));
  const vi quiet = vselect_greater(magnitude, vset_i(0x7c00), vset_i(0x400000), vi{});
  const vi special = shifted | vset_i(0x7f800000) | quiet;
  const vi sign = (half & vset_i(0x8000)) << 16;
  return vfrom_bits(vselect_greater(magnitude, vset_i(0x7bff), special, scaled) | sign);
}
inline void vstore_f16(void* p, vf x) {
  uint16_t half[4];
  for (int i = 0; i < 4; ++i) half[i] = f16_from_float(x[i]);
  __builtin_memcpy(p, half, 8);
}
inline void vstore_u16(void* p, vi x) {
  uint16_t out[4];
  for (int i = 0; i < 4; ++i) out[i] = static_cast<uint16_t>(x[i]);
  __builtin_memcpy(p, out, 8);
}
inline void vstore_u8(void* p, vi x) {
  uint8_t out[4];
  for (int i = 0; i < 4; ++i) out[i] = static_cast<uint8_t>(x[i]);
  __builtin_memcpy(p, out, 4);
}

inline void vzip(vf& a, vf& b) {
  const vf first = {a[0], b[0], a[1], b[1]};
  b = vf{a[2], b[2], a[3], b[3]};
  a = first;
}

inline void vtranspose(vf (&v)[4]) {
  const vf a = v[0], b = v[1], c = v[2], d = v[3];
  v[0] = vf{a[0], b[0], c[0], d[0]};
  v[1] = vf{a[1], b[1], c[1], d[1]};
  v[2] = vf{a[2], b[2], c[2], d[2]};
  v[3] = vf{a[3], b[3], c[3], d[3]};
}

// ---- Integer dot products: codes of 4 rows x 4 k against 4 int8 activations ----
using Dots = vi;
using Codes = vi;
// Codes of kBits as many rows multiply them, widened once for all of them to kCodeBits.
template <int kBits>
struct Widening {
  static constexpr int kCodeBits = kBits;  // as they are stored
};
// Sums of products of kBits in fewer bits than Dots, of kMost words at most.
template <int kBits>
struct NarrowSums {
  static constexpr int kMost = 0;
};
inline Codes vload_codes(const void* p) {
  vi x;
  __builtin_memcpy(&x, p, 16);
  return x;
}
inline void vstore_codes(void* p, Codes codes) { __builtin_memcpy(p, &codes, sizeof codes); }
constexpr int32_t kCodeOffset = 128;
// Even and odd k as 16-bit values: a product of a code and an activation fits into 16 bits.
struct Weights8 {
  vshort even, odd;
};
struct Inputs8 {
  vshort even, odd;
};
using Inputs4 = Inputs8;
inline Weights8 weights8(Codes codes) {
  return {reinterpret_cast<vshort>(codes & vset_i(0x00ff00ff)),
          reinterpret_cast<vshort>((codes >> 8) & vset_i(0x00ff00ff))};
}
inline Inputs8 inputs8(int32_t four) {
  const vi x = vset_i(four);
  return {reinterpret_cast<vshort>(x << 8) >> 8, reinterpret_cast<vshort>(x) >> 8};
}
inline Inputs4 inputs4(int32_t four) { return inputs8(four); }
inline vi add_pairs(vshort products) {
  const vsigned both = reinterpret_cast<vsigned>(products);
  const vsigned low = reinterpret_cast<vsigned>(reinterpret_cast<vi>(products) << 16);
  return reinterpret_cast<vi>((both >> 16) + (low >> 16));
}
inline Dots dot8(Dots sum, const Weights8& w, const Inputs8& x) {
  return sum + add_pairs(w.even * x.even) + add_pairs(w.odd * x.odd);
}
inline Dots dot4(Dots sum, Codes w, const Inputs4& x) { return dot8(sum, weights8(w), x); }
inline Codes low_nibbles(Codes c) { return c & vset_i(0x0f0f0f0f); }
inline Codes high_nibbles(Codes c) { return (c >> 4) & vset_i(0x0f0f0f0f); }
