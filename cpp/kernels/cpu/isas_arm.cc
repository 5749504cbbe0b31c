#include "kernels/cpu/arm.h"
#include "kernels/cpu/isas.h"

namespace penstock {
namespace {

constexpr Isa kIsas[] = {
    {"neon", runs_neon, overlay_neon},
    {"neon_dotprod", runs_neon_dotprod, overlay_neon_dotprod},
    {"neon_bf16", runs_neon_bf16, overlay_neon_bf16},
};

}  // namespace

std::span<const Isa> isas() { return kIsas; }

}  // namespace penstock
