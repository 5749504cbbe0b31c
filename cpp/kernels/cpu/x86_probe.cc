// What an x86-64 processor and its operating system can run. The compiler's run-time support asks
// for the wide registers to be saved by the system too.
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/cpu/x86.h"

namespace penstock {
namespace {

// arch_prctl(2): a process may use the tile registers only after asking.
constexpr long kRequestPermission = 0x1023, kTileData = 18;

}  // namespace

bool runs_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}

bool runs_avx2vnni() { return runs_avx2() && __builtin_cpu_supports("avxvnni"); }

bool runs_avx512() {
  return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

bool runs_avx512bf16() { return runs_avx512() && __builtin_cpu_supports("avx512bf16"); }

bool runs_avx512amx() {
  return runs_avx512bf16() && __builtin_cpu_supports("amx-tile") &&
         __builtin_cpu_supports("amx-bf16") && __builtin_cpu_supports("amx-int8") &&
         ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// AMD's cores start a bf16 dot product as often as a multiply-add; Intel's a quarter as often, with
// twice the work.
bool prefers_bf16_dot() { return __builtin_cpu_is("amd"); }

}  // namespace penstock
