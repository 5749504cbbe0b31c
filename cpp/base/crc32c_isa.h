// The CRC32C loops behind crc32c(): one per instruction set, all with the same result. `state` is
// the inverted running value, as in the definition of the polynomial division.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

inline constexpr uint32_t kCrc32cPolynomial = 0x82f63b78u;  // reflected

uint32_t crc32c_portable(uint32_t state, const unsigned char* data, size_t bytes);
// Needs SSE4.2; about three times as fast as one chain of crc32 instructions.
uint32_t crc32c_sse42(uint32_t state, const unsigned char* data, size_t bytes);
// False where the build or the processor lacks it; crc32c_sse42 may not be called then.
bool crc32c_sse42_usable();

}  // namespace penstock
