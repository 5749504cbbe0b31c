// Binds what the search for a policy asks: names as in penstock/planning.h.
#include "penstock/planning.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using nb::literals::operator""_a;

namespace penstock {

void register_planning(nb::module_& m) {
  using Release = nb::call_guard<nb::gil_scoped_release>;
  nb::class_<RowTokens>(m, "RowTokens", "A row of a job, for predictions.")
      .def(
          "__init__",
          [](RowTokens* row, int64_t prompt, int64_t fresh, std::vector<int32_t> tokens,
             bool logits) { new (row) RowTokens{prompt, fresh, std::move(tokens), logits}; },
          "prompt"_a, "fresh"_a, "tokens"_a = std::vector<int32_t>{}, "logits"_a = false);
  nb::class_<Planning>(m, "Planning", "Sizes, costs and dry runs of policies; texts are JSON.")
      .def(nb::init<const EngineOptions&>(), "options"_a, Release())
      .def("facts", &Planning::facts, Release())
      .def("evaluate", &Planning::evaluate, "policy"_a, Release())
      .def("predict", &Planning::predict, "policy"_a, "rows"_a, "most_rows"_a = 0,
           "with_sweep"_a = false, Release())
      .def("sketch", &Planning::sketch, "policy"_a, "most_rows"_a = 0, Release());
}

}  // namespace penstock
