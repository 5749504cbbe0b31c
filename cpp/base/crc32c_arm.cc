#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "base/crc32c_isa.h"

namespace penstock {

Crc32cLoop fastest_crc32c() {
  return ::getauxval(AT_HWCAP) & HWCAP_CRC32 ? crc32c_armv8 : crc32c_portable;
}

}  // namespace penstock
