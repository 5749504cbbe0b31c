// Whether the processor has tile registers and the system lets this process use them.
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/cpu/isa.h"

namespace penstock {
namespace {

// arch_prctl(2): a process may use the tile registers only after asking.
constexpr long kRequestPermission = 0x1023, kTileData = 18;

}  // namespace

bool runs_avx512amx() {
  return runs_avx512bf16() && __builtin_cpu_supports("amx-tile") &&
         __builtin_cpu_supports("amx-bf16") && __builtin_cpu_supports("amx-int8") &&
         ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace penstock
