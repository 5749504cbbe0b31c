// The CRC32C loops behind crc32c(): one per instruction set, all with the same result. `state` is
// the inverted running value, as in the definition of the polynomial division.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

inline constexpr uint32_t kCrc32cPolynomial = 0x82f63b78u;  // reflected

using Crc32cLoop = uint32_t (*)(uint32_t state, const unsigned char* data, size_t bytes);

uint32_t crc32c_portable(uint32_t state, const unsigned char* data, size_t bytes);
// By the processor's instruction (crc32c_stretches.inl); each only on its architecture.
uint32_t crc32c_sse42(uint32_t state, const unsigned char* data, size_t bytes);
uint32_t crc32c_armv8(uint32_t state, const unsigned char* data, size_t bytes);

// The fastest loop that this processor runs. One file for each architecture has this function.
Crc32cLoop fastest_crc32c();

}  // namespace penstock
