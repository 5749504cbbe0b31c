// One table of kernels per instruction set. portable fills every entry; the others replace
// what they do better. Chosen once when a device is opened, by the processor or by name; there is
// no global state but what tests add.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/cpu/isa.h"

namespace penstock {

// Best first: those this processor can run.
std::vector<std::string_view> supported_isas();
// "" or "auto": the best one. Throws Error(unsupported) naming the supported ones.
const KernelTable& kernel_table(std::string_view isa);
// One more, known by its name and never chosen without it, before any device is opened. It must
// live as long as the process.
void add_kernel_table(const KernelTable& table);

}  // namespace penstock
