#include "base/crc32c_isa.h"

namespace penstock {

bool crc32c_sse42_usable() { return false; }

uint32_t crc32c_sse42(uint32_t state, const unsigned char* data, size_t bytes) {
  return crc32c_portable(state, data, bytes);
}

}  // namespace penstock
