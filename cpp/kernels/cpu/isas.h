// The instruction sets of the build's architecture.
#pragma once

#include <span>
#include <string_view>

#include "kernels/cpu/isa.h"

namespace penstock {

struct Isa {
  std::string_view name;
  bool (*runs)();  // asks processor and operating system
  // Replaces entries of a table; compiled for the ISA.
  void (*overlay)(KernelTable&);
  // Whether it is the better choice than the one before; null: always.
  bool (*is_preferred)() = nullptr;
};

// Beyond the portable one, from the plainest to the widest; each takes over what the one before
// has. One file for each architecture has this function: isas_*.cc.
std::span<const Isa> isas();

}  // namespace penstock
