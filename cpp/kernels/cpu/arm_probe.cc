// What an aarch64 processor can run, as Linux tells every process.
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "kernels/cpu/arm.h"

namespace penstock {
namespace {

bool has(unsigned long type, unsigned long features) {
  return (::getauxval(type) & features) == features;
}

}  // namespace

bool runs_neon() { return has(AT_HWCAP, HWCAP_ASIMD); }

// The flags are those of ARMv8.2, which has more than dot products.
bool runs_neon_dotprod() {
  return runs_neon() && has(AT_HWCAP, HWCAP_CRC32 | HWCAP_ATOMICS | HWCAP_ASIMDRDM | HWCAP_ASIMDDP);
}

bool runs_neon_bf16() { return runs_neon_dotprod() && has(AT_HWCAP2, HWCAP2_BF16); }

}  // namespace penstock
