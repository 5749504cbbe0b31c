// What the processor's multiply instructions reach when nothing else is done: chains in registers,
// all threads.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/parallel.h"

namespace penstock {

enum class Peak { fma, bf16_dot, bf16_tile, int8_dot };
std::string_view peak_name(Peak peak);
bool has_peak(Peak peak);
// Operations (a multiply and an add count as two) per second over all workers, over about 20 ms.
double measure_peak(Peak peak, const Parallel& parallel);

}  // namespace penstock
