// Binds the probe, names as in penstock/probe.h. It works without the GIL; progress takes it.
#include "penstock/probe.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/string.h>

namespace nb = nanobind;
using nb::literals::operator""_a;

namespace penstock {

void register_probe(nb::module_& m) {
  nb::class_<ProbeOptions>(m, "ProbeOptions", "What to measure; sizes are bytes.")
      .def(nb::init<>())
      .def_rw("device", &ProbeOptions::device)
      .def_rw("threads", &ProbeOptions::threads)
      .def_rw("cublaslt", &ProbeOptions::cublaslt)
      .def_rw("disk", &ProbeOptions::disk)
      .def_rw("disk_bytes", &ProbeOptions::disk_bytes)
      .def_rw("device_memory", &ProbeOptions::device_memory)
      .def_rw("width", &ProbeOptions::width)
      .def_rw("seconds", &ProbeOptions::seconds)
      .def_rw("quick", &ProbeOptions::quick)
      .def_rw("progress", &ProbeOptions::progress);
  m.def("probe_machine", &probe_machine, "options"_a, nb::call_guard<nb::gil_scoped_release>(),
        "Measures a machine; JSON text for EngineOptions.machine.");
}

}  // namespace penstock
