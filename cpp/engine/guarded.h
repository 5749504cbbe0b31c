// The boundary of the public API: our errors become ApiErrors, so nothing internal is in the
// interface.
#pragma once

#include <new>
#include <string>

#include "base/error.h"
#include "penstock/error.h"

namespace penstock {

template <class F>
auto guarded(F f) {
  try {
    return f();
  } catch (const Error& error) {
    ApiError api(std::string(error_code_name(error.code())), error.what());
    api.file = error.detail().file;
    api.field = error.detail().field;
    api.found = error.detail().found;
    api.allowed = error.detail().allowed;
    throw api;
  } catch (const std::bad_alloc&) {
    throw ApiError("budget", "the system has no memory left for the engine's own tables");
  }
}

}  // namespace penstock
