// The index of the Python module penstock._core. Each file of this folder binds one subject and
// defines one function `void register_<file>(nanobind::module_&)`; declare and call it here.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string_view.h>

#include "base/version.h"

namespace nb = nanobind;

namespace penstock {
void register_engine(nb::module_& m);    // engine.cc
void register_planning(nb::module_& m);  // planning.cc
void register_probe(nb::module_& m);     // probe.cc
void register_system(nb::module_& m);    // system.cc
}  // namespace penstock

NB_MODULE(_core, m) {
  m.doc() = "The Penstock engine.";
  m.def("version", &penstock::version, "Version of the engine, as major.minor.patch.");
  penstock::register_planning(m);
  penstock::register_engine(m);
  penstock::register_probe(m);
  penstock::register_system(m);
}
