// What is to be done: how many rows, how long.
#pragma once

#include <cstdint>

namespace penstock {

struct Workload {
  int64_t rows = 0;                           // 0: unknown, assume many
  int64_t mean_prompt = 128, max_prompt = 0;  // tokens; max 0: unknown, assume mean * 2
  int64_t mean_new = 32, max_new = 0;
};

}  // namespace penstock
