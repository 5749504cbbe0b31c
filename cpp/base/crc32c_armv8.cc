// CRC32C by the instruction of the CRC extension of ARMv8; compiled for it.
#include <arm_acle.h>

#include "base/crc32c_isa.h"

namespace penstock {
namespace {

inline uint64_t add_word(uint64_t state, uint64_t word) {
  return __crc32cd(static_cast<uint32_t>(state), word);
}
inline uint32_t add_byte(uint32_t state, unsigned char byte) { return __crc32cb(state, byte); }

#include "base/crc32c_stretches.inl"

}  // namespace

uint32_t crc32c_armv8(uint32_t state, const unsigned char* data, size_t bytes) {
  return extend_crc32c(state, data, bytes);
}

}  // namespace penstock
