// CRC32C by the instruction of SSE4.2; compiled for it.
#include <nmmintrin.h>

#include "base/crc32c_isa.h"

namespace penstock {
namespace {

inline uint64_t add_word(uint64_t state, uint64_t word) { return _mm_crc32_u64(state, word); }
inline uint32_t add_byte(uint32_t state, unsigned char byte) { return _mm_crc32_u8(state, byte); }

#include "base/crc32c_stretches.inl"

}  // namespace

uint32_t crc32c_sse42(uint32_t state, const unsigned char* data, size_t bytes) {
  return extend_crc32c(state, data, bytes);
}

}  // namespace penstock
