// libcublasLt, taken from the machine when a GPU is opened: nothing is linked to it, and where it
// is missing our own kernels do all products.
#pragma once

#include <memory>
#include <string>

#include "kernels/cublaslt/api.h"

namespace penstock::cublaslt {

struct Library {
  Functions call;
  std::string version;  // "13.1.0"
};

// Throws Error(device) with the name of the call unless the status is success.
void check_status(Status status, const char* call);

struct Opened {
  std::shared_ptr<const Library> loaded;  // null where there is none
  std::string reason;                     // why there is none
};

inline constexpr const char* kOff = "off";
// `choice`: the path of the library; "": by its name, as the loader finds it; "off": none. What
// cannot be loaded, lacks a function or is of another major version than 13 is left alone.
Opened open_library(const std::string& choice);

}  // namespace penstock::cublaslt
