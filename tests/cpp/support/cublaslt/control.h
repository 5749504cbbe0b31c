// What tests tell the stand-in for libcublasLt, and what it tells them.
#pragma once

#include <cstdint>

namespace penstock::test {

struct StandinControl {
  const char* fails = "";  // the function that gives `status` instead of working
  int status = 0;
  bool refuses_all = false;  // no algorithm for any product
  bool ties_rows = false;    // no algorithm but for multiples of 8 weight rows
  // Counted: objects that are not destroyed, products, the last one's algorithm and its tile of K.
  int64_t objects = 0, products = 0;
  int64_t algorithm = 0, tile = 0;
};

}  // namespace penstock::test
