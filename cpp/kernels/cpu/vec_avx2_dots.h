// The integer dot products of the kernel bodies with AVX2, behind vec_avx2.h: codes of 8 rows x 4 k
// against 4 int8 activations.
#pragma once

constexpr int kMaxIntRows = 4;  // activation rows in a tile with int8 inputs
typedef int Dots __attribute__((vector_size(32)));
using Codes = vi;
inline Codes vload_codes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline void vstore_codes(void* p, Codes codes) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), codes);
}
constexpr int32_t kCodeOffset = 128;
// 8-bit codes do not fit maddubs' 16-bit sums: even and odd k as 16-bit values instead.
struct Weights8 {
  vi even, odd;
};
struct Inputs8 {
  vi even, odd;
};
using Inputs4 = vi;
inline Weights8 weights8(Codes codes) {
  return {_mm256_and_si256(codes, _mm256_set1_epi32(0x00ff00ff)), _mm256_srli_epi16(codes, 8)};
}
inline Inputs8 inputs8(int32_t four) {
  const __m256i x = _mm256_set1_epi32(four);
  return {_mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), _mm256_srai_epi16(x, 8)};
}
inline Inputs4 inputs4(int32_t four) { return _mm256_set1_epi32(four); }
inline Dots dot8(Dots sum, const Weights8& w, const Inputs8& x) {
  return sum + (Dots)_mm256_madd_epi16(w.even, x.even) + (Dots)_mm256_madd_epi16(w.odd, x.odd);
}
inline Dots dot4(Dots sum, Codes w, Inputs4 x) {  // 2 * 15 * 127 fits into 16 bits
  return sum + (Dots)_mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}
inline Codes low_nibbles(Codes c) { return _mm256_and_si256(c, _mm256_set1_epi8(15)); }
inline Codes high_nibbles(Codes c) {
  return _mm256_and_si256(_mm256_srli_epi32(c, 4), _mm256_set1_epi8(15));
}
// Codes of kBits as many rows multiply them, widened once for all of them to kCodeBits.
template <int kBits>
struct Widening {
  static constexpr int kCodeBits = kBits;  // as they are stored
};
template <>
struct Widening<4> {
  static constexpr int kCodeBits = 8;
  static constexpr int kFrom = 8, kMost = 6;  // input rows: of a product, at a time
  // Two vectors.
  static void store(std::byte* p, Codes codes) {
    vstore_codes(p, low_nibbles(codes));
    vstore_codes(p + kLanes * 4, high_nibbles(codes));
  }
};
// 16 bits, and inputs likewise: no input is widened in the loop. Of four k the even ones come
// first.
template <>
struct Widening<8> {
  static constexpr int kCodeBits = 16;
  static constexpr int kFrom = 16, kMost = 6;
  static constexpr int64_t kInputs = 16;  // that widen_inputs() takes
  static void store(std::byte* p, Codes codes) {
    const Weights8 words = weights8(codes);
    vstore_codes(p, words.even);
    vstore_codes(p + kLanes * 4, words.odd);
  }
  static void widen_inputs(const std::byte* codes, std::byte* out) {
    const __m128i x = _mm_loadu_si128(static_cast<const __m128i*>(static_cast<const void*>(codes)));
    const __m128i even = _mm_srai_epi16(_mm_slli_epi16(x, 8), 8), odd = _mm_srai_epi16(x, 8);
    __m128i* words = static_cast<__m128i*>(static_cast<void*>(out));
    _mm_storeu_si128(words, _mm_unpacklo_epi32(even, odd));
    _mm_storeu_si128(words + 1, _mm_unpackhi_epi32(even, odd));
  }
  // Codes of 8 rows x 2 k against 2 activations.
  static Dots dot(Dots sum, Codes w, Codes x) { return sum + (Dots)_mm256_madd_epi16(w, x); }
};
// Sums of products of kBits in fewer bits than Dots, of kMost words at most.
template <int kBits>
struct NarrowSums {
  static constexpr int kMost = 0;
};
template <>
struct NarrowSums<4> {
  static constexpr int kMost = 8;  // 8 * 2 * 15 * 127 fits into 16 bits
  typedef short Sums __attribute__((vector_size(32)));
  static Sums product(Codes w, Inputs4 x) { return (Sums)_mm256_maddubs_epi16(w, x); }
  static Dots add_to(Dots dots, Sums sums) {
    return dots + (Dots)_mm256_madd_epi16((vi)sums, _mm256_set1_epi16(1));
  }
};
