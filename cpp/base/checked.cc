#include "base/checked.h"

#include <string>

#include "base/error.h"

namespace penstock {
namespace {

[[noreturn]] void throw_overflow(int64_t a, char sign, int64_t b, std::string_view what) {
  throw Error(ErrorCode::malformed, std::string(what) + " overflows 64 bits",
              {.file = "",
               .field = "",
               .found = std::to_string(a) + " " + sign + " " + std::to_string(b),
               .allowed = ""});
}

}  // namespace

int64_t checked_add(int64_t a, int64_t b, std::string_view what) {
  int64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) throw_overflow(a, '+', b, what);
  return sum;
}

int64_t checked_mul(int64_t a, int64_t b, std::string_view what) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product)) throw_overflow(a, '*', b, what);
  return product;
}

}  // namespace penstock
