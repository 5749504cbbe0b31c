// Stands in for the kernels on tile registers where the processor or the compiler has none.
#include "kernels/cpu/isa.h"

namespace penstock {

void overlay_avx512amx(KernelTable&) {}
bool runs_avx512amx() { return false; }

}  // namespace penstock
