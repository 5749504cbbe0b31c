// How the probe times things: a few rounds, their median and how far apart they lie.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace penstock {

inline constexpr int kLeastRounds = 3, kMostRounds = 9;

struct Timing {
  double seconds = 0;  // median
  double spread = 0;   // half the range over the median
};

inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Rounds of a piece of work; `budget` seconds at most, but the least rounds in any case.
template <class F>
Timing time_rounds(double budget, F work) {
  work();  // wakes threads and fills page tables
  std::vector<double> times;
  const double end = seconds_now() + budget;
  for (int round = 0; round < kMostRounds; ++round) {
    if (round >= kLeastRounds && seconds_now() > end) break;
    const double begin = seconds_now();
    work();
    times.push_back(seconds_now() - begin);
  }
  std::sort(times.begin(), times.end());
  const double median = std::max(times[times.size() / 2], 1e-9);
  return {median, (times.back() - times.front()) / 2 / median};
}

}  // namespace penstock
