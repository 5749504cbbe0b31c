// Processors that have no kernels of their own run the portable ones.
#include "kernels/cpu/isas.h"

namespace penstock {

std::span<const Isa> isas() { return {}; }

}  // namespace penstock
