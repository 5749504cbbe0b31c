// What a call of the public API may throw. Every error has a stable code and, where it applies,
// file, field, found and allowed.
#pragma once

#include <stdexcept>
#include <string>

namespace penstock {

class ApiError : public std::runtime_error {
 public:
  ApiError(const std::string& code, const std::string& what)
      : std::runtime_error(what), code(code) {}
  std::string code;  // "invalid_argument", "unsupported", "not_found", "malformed", "corrupt",
                     // "budget", "io", "disk_full", "cancelled", "device", "internal"
  std::string file, field, found, allowed;  // empty where they do not apply
};

}  // namespace penstock
