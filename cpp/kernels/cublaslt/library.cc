#include "kernels/cublaslt/library.h"

#include <dlfcn.h>

#include <vector>

#include "base/error.h"

namespace penstock::cublaslt {
namespace {

constexpr size_t kMajor = 13;

const char* name_of(Status status) {
  switch (status) {
    case kNotInitialized:
      return "not initialized";
    case kAllocFailed:
      return "allocation failed";
    case kInvalidValue:
      return "invalid value";
    case kArchMismatch:
      return "not for this GPU";
    case kMappingError:
      return "mapping error";
    case kExecutionFailed:
      return "execution failed";
    case kInternalError:
      return "internal error";
    case kNotSupported:
      return "not supported";
    case kLicenseError:
      return "license error";
    default:
      return "unknown";
  }
}

// What the loader says of its last failure.
std::string loader_error() {
  const char* text = dlerror();
  return text == nullptr ? "no reason given" : text;
}

// Looks functions up until one is missing.
class Resolver {
 public:
  explicit Resolver(void* loaded) : loaded_(loaded) {}

  template <class Function>
  Resolver& operator()(Function*& function, const char* name) {
    if (!missing_.empty()) return *this;
    function = reinterpret_cast<Function*>(dlsym(loaded_, name));
    if (function == nullptr) missing_ = name;
    return *this;
  }
  const std::string& missing() const { return missing_; }

 private:
  void* loaded_;
  std::string missing_;
};

// The name of a function that is not there, or "".
std::string resolve(void* loaded, Functions& f) {
  Resolver take(loaded);
  take(f.get_version, "cublasLtGetVersion");
  take(f.create, "cublasLtCreate")(f.destroy, "cublasLtDestroy");
  take(f.desc_create, "cublasLtMatmulDescCreate");
  take(f.desc_set, "cublasLtMatmulDescSetAttribute");
  take(f.desc_destroy, "cublasLtMatmulDescDestroy");
  take(f.layout_create, "cublasLtMatrixLayoutCreate");
  take(f.layout_destroy, "cublasLtMatrixLayoutDestroy");
  take(f.preference_create, "cublasLtMatmulPreferenceCreate");
  take(f.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  take(f.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  take(f.get_heuristic, "cublasLtMatmulAlgoGetHeuristic");
  take(f.config_get, "cublasLtMatmulAlgoConfigGetAttribute");
  take(f.algo_check, "cublasLtMatmulAlgoCheck");
  take(f.matmul, "cublasLtMatmul");
  return take.missing();
}

// Why the loaded file is not taken, or "".
std::string examine(void* loaded, Library& found) {
  const std::string missing = resolve(loaded, found.call);
  if (!missing.empty()) return "it has no " + missing;
  const size_t version = found.call.get_version();  // 130100 for 13.1.0
  found.version = std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
                  "." + std::to_string(version % 100);
  if (version / 10000 != kMajor) return "it is of version " + found.version;
  return "";
}

Opened open_file(const std::string& file) {
  void* loaded = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded == nullptr) return {nullptr, loader_error()};
  auto library = std::make_shared<Library>();
  const std::string refused = examine(loaded, *library);
  if (refused.empty()) return {library, ""};  // stays loaded: a GPU's library is not unloaded
  dlclose(loaded);
  return {nullptr, file + ": " + refused};
}

}  // namespace

void check_status(Status status, const char* call) {
  if (status == kSuccess) return;
  throw Error(ErrorCode::device, std::string("cuBLASLt: ") + call + ": status " +
                                     std::to_string(status) + " (" + name_of(status) + ")");
}

Opened open_library(const std::string& choice) {
  if (choice == kOff) return {nullptr, "cuBLASLt is turned off"};
  if (!choice.empty()) return open_file(choice);
  Opened opened;
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so"}) {
    Opened next = open_file(name);
    if (next.loaded != nullptr) return next;
    opened.reason += (opened.reason.empty() ? "" : "; ") + next.reason;
  }
  return opened;
}

}  // namespace penstock::cublaslt
