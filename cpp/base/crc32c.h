// CRC32C (Castagnoli, reflected polynomial 0x82F63B78, as in iSCSI RFC 3720). By the
// processor's own instruction where it has one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

// Extends `crc` (0 to start) over `bytes` bytes. crc32c(0, "123456789", 9) == 0xE3069283.
uint32_t crc32c(uint32_t crc, const void* data, size_t bytes);

}  // namespace penstock
