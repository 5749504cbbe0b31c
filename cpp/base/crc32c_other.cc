#include "base/crc32c_isa.h"

namespace penstock {

Crc32cLoop fastest_crc32c() { return crc32c_portable; }

}  // namespace penstock
