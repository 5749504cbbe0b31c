// What an x86-64 processor and its operating system can run. The compiler's run-time support asks
// for the wide registers to be saved by the system too.
#include "kernels/cpu/isa.h"

namespace penstock {

bool runs_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}

bool runs_avx512() {
  return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

bool runs_avx512bf16() { return runs_avx512() && __builtin_cpu_supports("avx512bf16"); }

// AMD's cores start a bf16 dot product as often as a multiply-add; Intel's a quarter as often, with
// twice the work.
bool prefers_bf16_dot() { return __builtin_cpu_is("amd"); }

}  // namespace penstock
