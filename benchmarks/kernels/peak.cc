#include "kernels/peak.h"

#include <immintrin.h>

#include <chrono>
#include <cstdlib>

namespace penstock {
namespace {

constexpr int kChains = 12;
constexpr int64_t kSteps = 200000;

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

}  // namespace

std::string_view peak_name(Peak peak) {
  return peak == Peak::fma ? "fp32 fma" : (peak == Peak::bf16_dot ? "bf16 dot" : "int8 dot");
}

bool has_peak(Peak peak) {
  if (!__builtin_cpu_supports("avx512f")) return false;
  if (peak == Peak::bf16_dot) return __builtin_cpu_supports("avx512bf16");
  return peak == Peak::fma || __builtin_cpu_supports("avx512vnni");
}

double measure_peak(Peak peak, const Parallel& parallel) {
  const double per_step = peak == Peak::fma ? 32 : (peak == Peak::bf16_dot ? 64 : 128);
  const int64_t tasks = 4 * parallel.workers;
  const double begin = now();
  parallel.for_each(tasks, [&](int64_t, int) {
    const float sum = peak == Peak::fma        ? fma_chains()
                      : peak == Peak::bf16_dot ? bf16_chains()
                                               : int8_chains();
    if (sum == -1.0f) std::abort();
  });
  return static_cast<double>(tasks * kSteps) * kChains * per_step / (now() - begin);
}

}  // namespace penstock
