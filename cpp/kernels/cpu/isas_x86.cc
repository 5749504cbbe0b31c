#include "kernels/cpu/isas.h"
#include "kernels/cpu/x86.h"

namespace penstock {
namespace {

constexpr Isa kIsas[] = {
    {"avx2", runs_avx2, overlay_avx2},
    {"avx2vnni", runs_avx2vnni, overlay_avx2vnni},
    {"avx512", runs_avx512, overlay_avx512},
    {"avx512bf16", runs_avx512bf16, overlay_avx512bf16, prefers_bf16_dot},
    {"avx512amx", runs_avx512amx, overlay_avx512amx},
};

}  // namespace

std::span<const Isa> isas() { return kIsas; }

}  // namespace penstock
