// The vector words of the kernel bodies, in 4 lanes of NEON; see vec_avx512.h. Where the file is
// compiled for them, sdot multiplies bytes; else these are multiplied to 16 bits and summed.
// Little-endian only.
#pragma once

using vf = float32x4_t;
using vi = uint32x4_t;
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
constexpr int kLanes = 4;
constexpr int kRowVectors = 4;
constexpr int kMaxRows = 6;
constexpr int kMaxIntRows = 4;  // the same with int8 inputs
constexpr int64_t kDepth = 512;

inline int32x4_t as_signed(vi a) { return vreinterpretq_s32_u32(a); }
inline vi as_words(int32x4_t a) { return vreinterpretq_u32_s32(a); }

inline vi mask_of(int64_t n) {
  const int32x4_t lane = {0, 1, 2, 3};
  return vcgtq_s32(vdupq_n_s32(static_cast<int32_t>(n < 0 ? 0 : (n > 4 ? 4 : n))), lane);
}
inline vf vset(float x) { return vdupq_n_f32(x); }
inline vf vzero() { return vdupq_n_f32(0.0f); }
inline vf vload(const float* p) { return vld1q_f32(p); }
inline vf vload_n(const float* p, int64_t n) {
  if (n >= 4) return vload(p);
  float x[4] = {};
  for (int64_t i = 0; i < n; ++i) x[i] = p[i];
  return vload(x);
}
inline void vstore(float* p, vf x) { vst1q_f32(p, x); }
inline void vstore_n(float* p, vf x, int64_t n) {
  if (n >= 4) return vstore(p, x);
  float lanes[4];
  vstore(lanes, x);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}
inline vi vbits(vf a) { return vreinterpretq_u32_f32(a); }
inline vf vfrom_bits(vi a) { return vreinterpretq_f32_u32(a); }
inline vf vadd(vf a, vf b) { return vaddq_f32(a, b); }
inline vf vsub(vf a, vf b) { return vsubq_f32(a, b); }
inline vf vmul(vf a, vf b) { return vmulq_f32(a, b); }
inline vf vdiv(vf a, vf b) { return vdivq_f32(a, b); }
inline vf vfma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
// The processor's own maximum returns a NaN, whichever operand it is.
inline vf vmax(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
inline vf vmin(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
inline vf vround(vf a) { return vrndnq_f32(a); }
inline float vfirst(vf a) { return vgetq_lane_f32(a, 0); }
inline float vsum(vf a) { return vaddvq_f32(a); }
inline float vlargest(vf a) { return vmaxvq_f32(a); }
inline float vsmallest(vf a) { return vminvq_f32(a); }
inline vf vselect_negative(vf sign, vf a, vf b) { return vbslq_f32(vcltzq_f32(sign), a, b); }
inline vf vselect_range(vf inside, vf outside, int64_t begin, int64_t end) {
  return vbslq_f32(vbicq_u32(mask_of(end), mask_of(begin)), inside, outside);
}

inline vi vset_i(int32_t x) { return as_words(vdupq_n_s32(x)); }
inline vi vadd_i(vi a, vi b) { return vaddq_u32(a, b); }
inline vi vsub_i(vi a, vi b) { return vsubq_u32(a, b); }
inline vi vand_i(vi a, vi b) { return vandq_u32(a, b); }
inline vi vor_i(vi a, vi b) { return vorrq_u32(a, b); }
inline vi vmax_i(vi a, vi b) { return as_words(vmaxq_s32(as_signed(a), as_signed(b))); }
template <int kBits>
inline vi vshift_left(vi a) {
  return a << kBits;
}
template <int kBits>
inline vi vshift_right(vi a) {
  return a >> kBits;
}
inline vf vto_float(vi a) { return vcvtq_f32_s32(as_signed(a)); }
inline vi vto_int(vf a) { return as_words(vcvtnq_s32_f32(a)); }
inline int32_t vsum_i(vi a) { return vaddvq_s32(as_signed(a)); }
inline int32_t vlargest_i(vi a) { return vmaxvq_s32(as_signed(a)); }
inline vi vselect_greater(vi a, vi b, vi x, vi y) {
  return vbslq_u32(vcgtq_s32(as_signed(a), as_signed(b)), x, y);
}
// n in [-252, 252]: two factors, so that neither overflows before the product does.
inline vf vscale2(vf p, vf n) {
  const vi whole = vto_int(n);
  const vi half = as_words(vshrq_n_s32(as_signed(whole), 1));
  const vi bias = vset_i(127);
  const vf a = vfrom_bits(vshift_left<23>(vadd_i(half, bias)));
  const vf b = vfrom_bits(vshift_left<23>(vadd_i(vsub_i(whole, half), bias)));
  return vmul(vmul(p, a), b);
}

inline uint16x4_t load_halves(const void* p) {
  uint16x4_t x;
  __builtin_memcpy(&x, p, 8);
  return x;
}
inline vf vload_f16(const void* p) { return vcvt_f32_f16(vreinterpret_f16_u16(load_halves(p))); }
inline vi vload_u16(const void* p) { return vmovl_u16(load_halves(p)); }
inline vi vload_u8(const void* p) {
  uint32_t four;
  __builtin_memcpy(&four, p, 4);
  return vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)))));
}
inline void vstore_f16(void* p, vf x) {
  const float16x4_t half = vcvt_f16_f32(x);
  __builtin_memcpy(p, &half, 8);
}
inline void vstore_u16(void* p, vi x) {
  const uint16x4_t half = vmovn_u32(x);
  __builtin_memcpy(p, &half, 8);
}
inline void vstore_u8(void* p, vi x) {
  const uint16x4_t half = vmovn_u32(x);
  const uint8x8_t bytes = vmovn_u16(vcombine_u16(half, half));
  __builtin_memcpy(p, &bytes, 4);
}

inline void vzip(vf& a, vf& b) {
  const vf first = vzip1q_f32(a, b);
  b = vzip2q_f32(a, b);
  a = first;
}

inline vf join_low(vf a, vf b) {
  return vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
inline vf join_high(vf a, vf b) {
  return vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
inline void vtranspose(vf (&v)[4]) {
  const vf a = vtrn1q_f32(v[0], v[1]), b = vtrn2q_f32(v[0], v[1]);
  const vf c = vtrn1q_f32(v[2], v[3]), d = vtrn2q_f32(v[2], v[3]);
  v[0] = join_low(a, c);
  v[1] = join_low(b, d);
  v[2] = join_high(a, c);
  v[3] = join_high(b, d);
}

// ---- Integer dot products: codes of 4 rows x 4 k against 4 int8 activations ----
using Dots = int32x4_t;
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
  Codes x;
  __builtin_memcpy(&x, p, 16);
  return x;
}
inline void vstore_codes(void* p, Codes codes) { __builtin_memcpy(p, &codes, 16); }
// Both factors have a sign, so 8-bit codes are multiplied as the values they stand for.
constexpr int32_t kCodeOffset = 0;
using Weights8 = int8x16_t;
using Inputs8 = int8x16_t;
using Inputs4 = int8x16_t;
inline int8x16_t as_bytes(vi a) { return vreinterpretq_s8_u32(a); }
inline Weights8 weights8(Codes codes) {
  return as_bytes(veorq_u32(codes, vset_i(static_cast<int32_t>(0x80808080u))));
}
inline Inputs8 inputs8(int32_t four) { return as_bytes(vset_i(four)); }
inline Inputs4 inputs4(int32_t four) { return as_bytes(vset_i(four)); }

#ifdef __ARM_FEATURE_DOTPROD
inline Dots dot8(Dots sum, Weights8 w, Inputs8 x) { return vdotq_s32(sum, w, x); }
inline Dots dot4(Dots sum, Codes w, Inputs4 x) { return vdotq_s32(sum, as_bytes(w), x); }
#else
// Two products of a row fit into 16 bits: 2 * 128 * 127, or 4 * 15 * 127.
inline Dots add_products(Dots sum, int16x8_t low, int16x8_t high) {
  return vpadalq_s16(sum, vpaddq_s16(low, high));
}
inline Dots dot8(Dots sum, Weights8 w, Inputs8 x) {
  return add_products(sum, vmull_s8(vget_low_s8(w), vget_low_s8(x)), vmull_high_s8(w, x));
}
inline Dots dot4(Dots sum, Codes w, Inputs4 x) { return dot8(sum, as_bytes(w), x); }
#endif

inline Codes low_nibbles(Codes c) { return vandq_u32(c, vset_i(0x0f0f0f0f)); }
inline Codes high_nibbles(Codes c) { return vandq_u32(vshrq_n_u32(c, 4), vset_i(0x0f0f0f0f)); }
