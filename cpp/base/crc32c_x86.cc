#include "base/crc32c_isa.h"

namespace penstock {

Crc32cLoop fastest_crc32c() {
  return __builtin_cpu_supports("sse4.2") ? crc32c_sse42 : crc32c_portable;
}

}  // namespace penstock
