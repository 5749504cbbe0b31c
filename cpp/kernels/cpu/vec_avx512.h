// The vector words of the kernel bodies, in 16 lanes of AVX-512 (F, BW, VL, DQ, VNNI). Included
// inside the namespace of one ISA by its .cc file, after <immintrin.h>; every function has internal
// linkage. vmax and vmin return the second operand when one is NaN. Partial loads fill with zeros.
#pragma once

using vf = __m512;
using vi = __m512i;
constexpr int kLanes = 16;
constexpr int kRowVectors = 2;   // vectors of weight rows in a GEMM tile
constexpr int kMaxRows = 12;     // activation rows in a GEMM tile
constexpr int kMaxIntRows = 12;  // the same with int8 inputs
constexpr int64_t kDepth = 256;  // k of a fp32 weight tile kept in L1

inline __mmask16 mask_of(int64_t n) {
  return n >= 16 ? __mmask16{0xffff} : static_cast<__mmask16>((1u << (n < 0 ? 0 : n)) - 1u);
}
inline vf vset(float x) { return _mm512_set1_ps(x); }
inline vf vzero() { return _mm512_setzero_ps(); }
inline vf vload(const float* p) { return _mm512_loadu_ps(p); }
inline vf vload_n(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(mask_of(n), p); }
inline void vstore(float* p, vf x) { _mm512_storeu_ps(p, x); }
inline void vstore_n(float* p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, mask_of(n), x); }
inline vf vadd(vf a, vf b) { return _mm512_add_ps(a, b); }
inline vf vsub(vf a, vf b) { return _mm512_sub_ps(a, b); }
inline vf vmul(vf a, vf b) { return _mm512_mul_ps(a, b); }
inline vf vdiv(vf a, vf b) { return _mm512_div_ps(a, b); }
inline vf vfma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
inline vf vmax(vf a, vf b) { return _mm512_max_ps(a, b); }
inline vf vmin(vf a, vf b) { return _mm512_min_ps(a, b); }
inline vf vround(vf a) { return _mm512_roundscale_ps(a, 8); }
inline float vsum(vf a) { return _mm512_reduce_add_ps(a); }
inline float vlargest(vf a) { return _mm512_reduce_max_ps(a); }
inline float vsmallest(vf a) { return _mm512_reduce_min_ps(a); }
inline float vfirst(vf a) { return _mm512_cvtss_f32(a); }
// Where sign < 0: a, else b.
inline vf vselect_negative(vf sign, vf a, vf b) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(sign, vzero(), _CMP_LT_OQ), b, a);
}
// Lanes [begin, end) of `inside`, the others of `outside`.
inline vf vselect_range(vf inside, vf outside, int64_t begin, int64_t end) {
  return _mm512_mask_blend_ps(mask_of(end) & ~mask_of(begin), outside, inside);
}
// p * 2^n; n is integral.
inline vf vscale2(vf p, vf n) { return _mm512_scalef_ps(p, n); }

inline vi vset_i(int32_t x) { return _mm512_set1_epi32(x); }
inline vi vadd_i(vi a, vi b) { return _mm512_add_epi32(a, b); }
inline vi vsub_i(vi a, vi b) { return _mm512_sub_epi32(a, b); }
inline vi vand_i(vi a, vi b) { return _mm512_and_si512(a, b); }
inline vi vor_i(vi a, vi b) { return _mm512_or_si512(a, b); }
inline vi vmax_i(vi a, vi b) { return _mm512_max_epi32(a, b); }
template <int kBits>
inline vi vshift_left(vi a) {
  return _mm512_slli_epi32(a, kBits);
}
template <int kBits>
inline vi vshift_right(vi a) {  // logical
  return _mm512_srli_epi32(a, kBits);
}
inline vi vbits(vf a) { return _mm512_castps_si512(a); }
inline vf vfrom_bits(vi a) { return _mm512_castsi512_ps(a); }
inline vf vto_float(vi a) { return _mm512_cvtepi32_ps(a); }
inline vi vto_int(vf a) { return _mm512_cvtps_epi32(a); }  // |a| < 2^22, integral
inline int32_t vsum_i(vi a) { return _mm512_reduce_add_epi32(a); }
inline int32_t vlargest_i(vi a) { return _mm512_reduce_max_epi32(a); }
// a > b ? x : y per lane, signed.
inline vi vselect_greater(vi a, vi b, vi x, vi y) {
  return _mm512_mask_blend_epi32(_mm512_cmpgt_epi32_mask(a, b), y, x);
}

inline vf vload_f16(const void* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
inline vi vload_u16(const void* p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
inline vi vload_u8(const void* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
inline void vstore_f16(void* p, vf x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(x, 0));
}
inline void vstore_u16(void* p, vi x) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x));
}
inline void vstore_u8(void* p, vi x) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}

// Lanes of a and b by turns: a0 b0 a1 b1 ...
inline void vzip(vf& a, vf& b) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512 first = _mm512_permutex2var_ps(a, low, b);
  b = _mm512_permutex2var_ps(a, _mm512_add_epi32(low, _mm512_set1_epi32(8)), b);
  a = first;
}

// Rows become columns: lane i of v[j] goes to lane j of v[i].
inline void vtranspose(vf (&v)[16]) {
  __m512 t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    const __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]);
    const __m512d c = _mm512_castps_pd(t[i + 2]), d = _mm512_castps_pd(t[i + 3]);
    v[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    v[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    v[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    v[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    v[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    v[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    v[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// ---- Integer dot products: codes of 16 rows x 4 k against 4 int8 activations ----
// Running sums have the element type of the instruction: GCC 12 spills the sums of a loop that are
// cast at every step.
typedef int Dots __attribute__((vector_size(64)));
using Codes = vi;
inline Codes vload_codes(const void* p) { return _mm512_loadu_si512(p); }
inline void vstore_codes(void* p, Codes codes) { _mm512_storeu_si512(p, codes); }
// Stored 8-bit codes are 128 larger than their values; by this much they still are when multiplied.
constexpr int32_t kCodeOffset = 128;
using Weights8 = vi;
using Inputs8 = vi;
using Inputs4 = vi;
inline Weights8 weights8(Codes codes) { return codes; }
inline Inputs8 inputs8(int32_t four) { return _mm512_set1_epi32(four); }
inline Inputs4 inputs4(int32_t four) { return _mm512_set1_epi32(four); }
inline Dots dot8(Dots sum, Weights8 w, Inputs8 x) {
  return (Dots)_mm512_dpbusd_epi32((__m512i)sum, w, x);
}
inline Dots dot4(Dots sum, Codes w, Inputs4 x) { return dot8(sum, w, x); }
inline Codes low_nibbles(Codes c) { return _mm512_and_si512(c, _mm512_set1_epi8(15)); }
inline Codes high_nibbles(Codes c) {
  return _mm512_and_si512(_mm512_srli_epi32(c, 4), _mm512_set1_epi8(15));
}
// Codes of kBits as many rows multiply them, widened once for all of them to kCodeBits.
template <int kBits>
struct Widening {
  static constexpr int kCodeBits = kBits;  // as they are stored
};
template <>
struct Widening<4> {
  static constexpr int kCodeBits = 8;
  // Input rows: of a product, at a time.
  static constexpr int kFrom = kMaxIntRows + 1, kMost = kMaxIntRows;
  // Two vectors.
  static void store(std::byte* p, Codes codes) {
    vstore_codes(p, low_nibbles(codes));
    vstore_codes(p + kLanes * 4, high_nibbles(codes));
  }
};
// Sums of products of kBits in fewer bits than Dots, of kMost words at most.
template <int kBits>
struct NarrowSums {
  static constexpr int kMost = 0;
};
