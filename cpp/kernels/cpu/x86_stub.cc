// Stands in for the x86-64 kernels and their detection where the processor is another.
#include "kernels/cpu/isa.h"

namespace penstock {

void overlay_avx2(KernelTable&) {}
void overlay_avx512(KernelTable&) {}
void overlay_avx512bf16(KernelTable&) {}
bool runs_avx2() { return false; }
bool runs_avx512() { return false; }
bool runs_avx512bf16() { return false; }
bool prefers_bf16_dot() { return false; }

}  // namespace penstock
