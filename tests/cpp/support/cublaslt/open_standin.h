// The stand-in for libcublasLt, opened as a device opens the library, and asked for nothing yet.
#pragma once

#include <dlfcn.h>

#include "base/error.h"
#include "kernels/cublaslt/library.h"
#include "support/cublaslt/control.h"

namespace penstock::test {

struct OpenStandin {
  cublaslt::Opened opened = cublaslt::open_library(PENSTOCK_CUBLASLT_STANDIN);
  StandinControl* control = nullptr;

  OpenStandin() {
    void* loaded = dlopen(PENSTOCK_CUBLASLT_STANDIN, RTLD_NOW | RTLD_NOLOAD);
    check(loaded != nullptr, "the stand-in is loaded");
    control = reinterpret_cast<StandinControl* (*)()>(dlsym(loaded, "standin_control"))();
    *control = {};
  }
};

}  // namespace penstock::test
