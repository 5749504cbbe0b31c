// What the processor's multiply instructions reach when nothing else is done: chains in registers,
// all threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/parallel.h"

namespace penstock {

enum class Peak {
  fma,         // fp32, 512 bits
  bf16_dot,    // pairs of bf16, 512 bits
  bf16_tile,   // AMX
  int8_dot,    // VNNI, 512 bits
  int8_tile,   // AMX
  avx2_fma,    // fp32, 256 bits
  avx2_bytes,  // bytes by bytes in 16 bits, pairs in 32
  avx2_words   // 16-bit words by words
};
std::string_view peak_name(Peak peak);
bool has_peak(Peak peak);
// Operations (a multiply and an add count as two) per second over all workers, over about 20 ms.
double measure_peak(Peak peak, const Parallel& parallel);

// The sum of `count` words (a multiple of 32), read as fast as one thread can: several streams at
// once, since a prefetcher follows each a little ahead.
uint64_t sum_of_words(const uint64_t* words, size_t count);

}  // namespace penstock
