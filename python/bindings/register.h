// One register function per file of this folder; module.cc calls them all.
#pragma once

#include <nanobind/nanobind.h>

namespace penstock {

void register_engine(nanobind::module_& m);

}  // namespace penstock
