#include "kernels/peak.h"

#include <immintrin.h>

// GCC 12 takes the deliberately undefined operand of its own intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wuninitialized"

#include <chrono>
#include <cstdlib>

#include "kernels/cpu/x86.h"

namespace penstock {
namespace {

constexpr int kChains = 12;
constexpr int64_t kSteps = 200000;
constexpr int64_t kTileSteps = 50000;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

__attribute__((target("avx512f"), noinline)) float fma_chains() {
  __m512 sums[kChains];
  for (auto& sum : sums) sum = _mm512_set1_ps(1.5f);
  __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_fmadd_ps(sum, a, b);
    asm volatile("" : "+v"(a), "+v"(b));
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  return _mm512_cvtss_f32(sums[0]);
}

__attribute__((target("avx512f,avx512bf16"), noinline)) float bf16_chains() {
  __m512 sums[kChains];
  for (auto& sum : sums) sum = _mm512_set1_ps(1.5f);
  __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1e-9f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    asm volatile("" : "+v"(a), "+v"(b));
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  return _mm512_cvtss_f32(sums[0]);
}

__attribute__((target("avx512f,avx512vnni"), noinline)) float int8_chains() {
  __m512i sums[kChains];
  for (auto& sum : sums) sum = _mm512_set1_epi32(3);
  __m512i a = _mm512_set1_epi8(2), b = _mm512_set1_epi8(1);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
    asm volatile("" : "+v"(a), "+v"(b));
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
  return static_cast<float>(_mm_cvtsi128_si32(_mm512_castsi512_si128(sums[0])));
}

struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Four tiles of sums, two by two, and tiles of 1 KiB of inputs and of weights, none of them zero.
__attribute__((target("amx-tile"), noinline)) void begin_tiles(const void* inputs,
                                                               const void* weights) {
  const TileShapes shapes;
  asm volatile("" ::: "memory");
  _tile_loadconfig(&shapes);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, inputs, 64);
  _tile_loadd(5, inputs, 64);
  _tile_loadd(6, weights, 64);
  _tile_loadd(7, weights, 64);
}

// Inputs near 1, weights near 1e-9.
__attribute__((target("amx-tile,amx-bf16"), noinline)) float tile_chains() {
  alignas(64) uint16_t inputs[512], weights[512];
  for (int i = 0; i < 512; ++i) {
    inputs[i] = static_cast<uint16_t>(0x3f40 + i % 97);
    weights[i] = static_cast<uint16_t>(0x3080 + i % 61);
  }
  begin_tiles(inputs, weights);
  for (int64_t i = 0; i < kTileSteps; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return 0.0f;
}

__attribute__((target("amx-tile,amx-int8"), noinline)) float int8_tile_chains() {
  alignas(64) uint8_t inputs[1024], weights[1024];
  for (int i = 0; i < 1024; ++i) {
    inputs[i] = static_cast<uint8_t>(1 + i % 97);
    weights[i] = static_cast<uint8_t>(1 + i % 61);
  }
  begin_tiles(inputs, weights);
  for (int64_t i = 0; i < kTileSteps; ++i) {
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
  _tile_release();
  return 0.0f;
}

__attribute__((target("avx2,fma"), noinline)) float avx2_fma_chains() {
  __m256 sums[kChains];
  for (auto& sum : sums) sum = _mm256_set1_ps(1.5f);
  __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(1.0f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm256_fmadd_ps(sum, a, b);
    asm volatile("" : "+x"(a), "+x"(b));
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm256_add_ps(sums[0], sums[i]);
  return _mm256_cvtss_f32(sums[0]);
}

// The shortest exact sequences that AVX2 has, in assembler: a compiler keeps the sums of such a
// loop in memory. Products of bytes by nibbles are summed in 16 bits eight times before they are
// widened.
__attribute__((target("avx2"), noinline)) float avx2_byte_chains() {
  const __m256i a = _mm256_set1_epi8(2), ones = _mm256_set1_epi16(1);
  __m256i s0 = ones, s1 = ones, s2 = ones, s3 = ones, n0, n1, n2, n3, p0, p1, p2, p3;
  for (int64_t i = 0; i < kSteps; ++i) {
    asm volatile(
        "vpmaddubsw %[a], %[a], %[n0]\n"
        "vpmaddubsw %[a], %[a], %[n1]\n"
        "vpmaddubsw %[a], %[a], %[n2]\n"
        "vpmaddubsw %[a], %[a], %[n3]\n"
        ".rept 7\n"
        "vpmaddubsw %[a], %[a], %[p0]\n"
        "vpmaddubsw %[a], %[a], %[p1]\n"
        "vpaddw %[p0], %[n0], %[n0]\n"
        "vpaddw %[p1], %[n1], %[n1]\n"
        "vpmaddubsw %[a], %[a], %[p2]\n"
        "vpmaddubsw %[a], %[a], %[p3]\n"
        "vpaddw %[p2], %[n2], %[n2]\n"
        "vpaddw %[p3], %[n3], %[n3]\n"
        ".endr\n"
        "vpmaddwd %[ones], %[n0], %[n0]\n"
        "vpmaddwd %[ones], %[n1], %[n1]\n"
        "vpaddd %[n0], %[s0], %[s0]\n"
        "vpaddd %[n1], %[s1], %[s1]\n"
        "vpmaddwd %[ones], %[n2], %[n2]\n"
        "vpmaddwd %[ones], %[n3], %[n3]\n"
        "vpaddd %[n2], %[s2], %[s2]\n"
        "vpaddd %[n3], %[s3], %[s3]\n"
        : [s0] "+x"(s0), [s1] "+x"(s1), [s2] "+x"(s2), [s3] "+x"(s3), [n0] "=&x"(n0),
          [n1] "=&x"(n1), [n2] "=&x"(n2), [n3] "=&x"(n3), [p0] "=&x"(p0), [p1] "=&x"(p1),
          [p2] "=&x"(p2), [p3] "=&x"(p3)
        : [a] "x"(a), [ones] "x"(ones));
  }
  const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(s0, s1), _mm256_add_epi32(s2, s3));
  return static_cast<float>(_mm_cvtsi128_si32(_mm256_castsi256_si128(sum)));
}

// 8-bit codes as 16-bit words.
__attribute__((target("avx2"), noinline)) float avx2_word_chains() {
  const __m256i a = _mm256_set1_epi16(2);
  __m256i s0 = a, s1 = a, s2 = a, s3 = a, p0, p1, p2, p3;
  for (int64_t i = 0; i < kSteps; ++i) {
    asm volatile(
        ".rept 4\n"
        "vpmaddwd %[a], %[a], %[p0]\n"
        "vpmaddwd %[a], %[a], %[p1]\n"
        "vpaddd %[p0], %[s0], %[s0]\n"
        "vpaddd %[p1], %[s1], %[s1]\n"
        "vpmaddwd %[a], %[a], %[p2]\n"
        "vpmaddwd %[a], %[a], %[p3]\n"
        "vpaddd %[p2], %[s2], %[s2]\n"
        "vpaddd %[p3], %[s3], %[s3]\n"
        ".endr\n"
        : [s0] "+x"(s0), [s1] "+x"(s1), [s2] "+x"(s2), [s3] "+x"(s3), [p0] "=&x"(p0),
          [p1] "=&x"(p1), [p2] "=&x"(p2), [p3] "=&x"(p3)
        : [a] "x"(a));
  }
  const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(s0, s1), _mm256_add_epi32(s2, s3));
  return static_cast<float>(_mm_cvtsi128_si32(_mm256_castsi256_si128(sum)));
}

struct Chains {
  std::string_view name;
  float (*run)();
  double operations;  // of one run
};

Chains chains_of(Peak peak) {
  constexpr double kVectors = static_cast<double>(kSteps) * kChains;
  switch (peak) {
    case Peak::fma:
      return {"fp32 fma", fma_chains, kVectors * 32};
    case Peak::bf16_dot:
      return {"bf16 dot", bf16_chains, kVectors * 64};
    case Peak::bf16_tile:
      return {"bf16 tile", tile_chains, static_cast<double>(kTileSteps) * 4 * 2 * 16 * 16 * 32};
    case Peak::int8_tile:
      return {"int8 tile", int8_tile_chains,
              static_cast<double>(kTileSteps) * 4 * 2 * 16 * 16 * 64};
    case Peak::avx2_fma:
      return {"avx2 fma", avx2_fma_chains, kVectors * 16};
    case Peak::avx2_bytes:
      return {"avx2 maddubs", avx2_byte_chains, static_cast<double>(kSteps) * 4 * 8 * 64};
    case Peak::avx2_words:
      return {"avx2 madd", avx2_word_chains, static_cast<double>(kSteps) * 16 * 32};
    case Peak::int8_dot:
      break;
  }
  return {"int8 dot", int8_chains, kVectors * 128};
}

}  // namespace

std::string_view peak_name(Peak peak) { return chains_of(peak).name; }

bool has_peak(Peak peak) {
  if (peak == Peak::avx2_fma || peak == Peak::avx2_bytes || peak == Peak::avx2_words) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  }
  if (!__builtin_cpu_supports("avx512f")) return false;
  if (peak == Peak::bf16_dot) return __builtin_cpu_supports("avx512bf16");
  if (peak == Peak::bf16_tile || peak == Peak::int8_tile) return runs_avx512amx();
  return peak == Peak::fma || __builtin_cpu_supports("avx512vnni");
}

__attribute__((target_clones("avx512f", "avx2", "default"), noinline)) uint64_t
sum_of_words(const uint64_t* words, size_t count) {
  constexpr size_t kStreams = 4, kWide = 8;  // a cache line of each stream at a time
  const size_t part = count / kStreams;
  uint64_t sums[kStreams * kWide] = {};
  for (size_t i = 0; i < part; i += kWide) {
    for (size_t stream = 0; stream < kStreams; ++stream) {
      for (size_t j = 0; j < kWide; ++j) sums[stream * kWide + j] += words[stream * part + i + j];
    }
  }
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

double measure_peak(Peak peak, const Parallel& parallel) {
  const Chains chains = chains_of(peak);
  const int64_t tasks = 4 * parallel.workers;
  const double begin = now();
  parallel.for_each(tasks, [&](int64_t, int) {
    if (chains.run() == -1.0f) std::abort();
  });
  return static_cast<double>(tasks) * chains.operations / (now() - begin);
}

}  // namespace penstock
