// The integer dot products of the kernel bodies with AVX-VNNI, behind vec_avx2.h: codes of 8 rows x
// 4 k against 4 int8 activations, in one instruction.
#pragma once

constexpr int kMaxIntRows = 6;  // activation rows in a tile with int8 inputs
typedef int Dots __attribute__((vector_size(32)));
using Codes = vi;
inline Codes vload_codes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline void vstore_codes(void* p, Codes codes) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), codes);
}
constexpr int32_t kCodeOffset = 128;
using Weights8 = vi;
using Inputs8 = vi;
using Inputs4 = vi;
inline Weights8 weights8(Codes codes) { return codes; }
inline Inputs8 inputs8(int32_t four) { return _mm256_set1_epi32(four); }
inline Inputs4 inputs4(int32_t four) { return _mm256_set1_epi32(four); }
inline Dots dot8(Dots sum, Weights8 w, Inputs8 x) {
  return (Dots)_mm256_dpbusd_avx_epi32((__m256i)sum, w, x);
}
inline Dots dot4(Dots sum, Codes w, Inputs4 x) { return dot8(sum, w, x); }
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
  // Input rows: of a product, at a time.
  static constexpr int kFrom = 2 * kMaxIntRows, kMost = kMaxIntRows;
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
