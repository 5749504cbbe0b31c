// Binds what the build finds on the machine, as in penstock/system.h.
#include "penstock/system.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

namespace nb = nanobind;

namespace penstock {

void register_system(nb::module_& m) {
  m.def("describe_system", &describe_system, nb::call_guard<nb::gil_scoped_release>(),
        "Instruction sets, memory and GPUs that this build finds; JSON text.");
}

}  // namespace penstock
