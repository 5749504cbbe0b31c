// The vector words of the kernel bodies, in 8 lanes of AVX2 with FMA and F16C; see vec_avx512.h.
#pragma once

using vf = __m256;
using vi = __m256i;
constexpr int kLanes = 8;
constexpr int kRowVectors = 2;
constexpr int kMaxRows = 6;
constexpr int64_t kDepth = 256;

inline __m256i mask_of(int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int32_t count = static_cast<int32_t>(n < 0 ? 0 : (n > 8 ? 8 : n));
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane);
}
inline vf vset(float x) { return _mm256_set1_ps(x); }
inline vf vzero() { return _mm256_setzero_ps(); }
inline vf vload(const float* p) { return _mm256_loadu_ps(p); }
// Stores by a mask are slow on many processors.
inline vf vload_n(const float* p, int64_t n) {
  return n >= kLanes ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, mask_of(n));
}
inline void vstore(float* p, vf x) { _mm256_storeu_ps(p, x); }
inline void vstore_n(float* p, vf x, int64_t n) {
  if (n >= kLanes) return _mm256_storeu_ps(p, x);
  _mm256_maskstore_ps(p, mask_of(n), x);
}
inline vf vadd(vf a, vf b) { return _mm256_add_ps(a, b); }
inline vf vsub(vf a, vf b) { return _mm256_sub_ps(a, b); }
inline vf vmul(vf a, vf b) { return _mm256_mul_ps(a, b); }
inline vf vdiv(vf a, vf b) { return _mm256_div_ps(a, b); }
inline vf vfma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
inline vf vmax(vf a, vf b) { return _mm256_max_ps(a, b); }
inline vf vmin(vf a, vf b) { return _mm256_min_ps(a, b); }
inline vf vround(vf a) { return _mm256_round_ps(a, 8); }
inline float vfirst(vf a) { return _mm256_cvtss_f32(a); }
inline float vsum(vf a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float vlargest(vf a) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
inline float vsmallest(vf a) {
  const __m128 four = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_min_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)));
}
inline vf vselect_negative(vf sign, vf a, vf b) {
  return _mm256_blendv_ps(b, a, _mm256_cmp_ps(sign, vzero(), _CMP_LT_OQ));
}
inline vf vselect_range(vf inside, vf outside, int64_t begin, int64_t end) {
  const __m256i mask = _mm256_andnot_si256(mask_of(begin), mask_of(end));
  return _mm256_blendv_ps(outside, inside, _mm256_castsi256_ps(mask));
}

inline vi vset_i(int32_t x) { return _mm256_set1_epi32(x); }
inline vi vadd_i(vi a, vi b) { return _mm256_add_epi32(a, b); }
inline vi vsub_i(vi a, vi b) { return _mm256_sub_epi32(a, b); }
inline vi vand_i(vi a, vi b) { return _mm256_and_si256(a, b); }
inline vi vor_i(vi a, vi b) { return _mm256_or_si256(a, b); }
inline vi vmax_i(vi a, vi b) { return _mm256_max_epi32(a, b); }
template <int kBits>
inline vi vshift_left(vi a) {
  return _mm256_slli_epi32(a, kBits);
}
template <int kBits>
inline vi vshift_right(vi a) {
  return _mm256_srli_epi32(a, kBits);
}
inline vi vbits(vf a) { return _mm256_castps_si256(a); }
inline vf vfrom_bits(vi a) { return _mm256_castsi256_ps(a); }
inline vf vto_float(vi a) { return _mm256_cvtepi32_ps(a); }
inline vi vto_int(vf a) { return _mm256_cvtps_epi32(a); }
inline int32_t vsum_i(vi a) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
inline int32_t vlargest_i(vi a) {
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
inline vi vselect_greater(vi a, vi b, vi x, vi y) {
  return _mm256_blendv_epi8(y, x, _mm256_cmpgt_epi32(a, b));
}
// n in [-252, 252]: two factors, so that neither overflows before the product does.
inline vf vscale2(vf p, vf n) {
  const vi whole = vto_int(n);
  const vi half = _mm256_srai_epi32(whole, 1);
  const vi bias = vset_i(127);
  const vf a = vfrom_bits(vshift_left<23>(vadd_i(half, bias)));
  const vf b = vfrom_bits(vshift_left<23>(vadd_i(vsub_i(whole, half), bias)));
  return vmul(vmul(p, a), b);
}

inline vf vload_f16(const void* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
inline vi vload_u16(const void* p) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
inline vi vload_u8(const void* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p)));
}
inline void vstore_f16(void* p, vf x) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_cvtps_ph(x, 0));
}
// Keeps the low 16 bits of each lane.
inline __m128i pack16(vi x) {
  const __m256i low = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
  const __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  return _mm256_castsi256_si128(both);
}
inline void vstore_u16(void* p, vi x) { _mm_storeu_si128(static_cast<__m128i*>(p), pack16(x)); }
inline void vstore_u8(void* p, vi x) {
  const __m128i words = _mm_and_si128(pack16(x), _mm_set1_epi16(0xff));
  _mm_storel_epi64(static_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}

inline void vzip(vf& a, vf& b) {
  const __m256 low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);
  a = _mm256_permute2f128_ps(low, high, 0x20);
  b = _mm256_permute2f128_ps(low, high, 0x31);
}

inline void vtranspose(vf (&v)[8]) {
  __m256 t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    v[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    v[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    v[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    v[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256 low = v[i], high = v[i + 4];
    v[i] = _mm256_permute2f128_ps(low, high, 0x20);
    v[i + 4] = _mm256_permute2f128_ps(low, high, 0x31);
  }
}
