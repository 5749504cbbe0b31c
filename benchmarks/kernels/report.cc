// Clock, random data, lines of JSON and arguments, for the benchmarks of any device.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "kernels/bench.h"

namespace penstock::bench {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

float noise(uint64_t i) {
  const uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
  return static_cast<float>((z ^ (z >> 29)) >> 40) * 0x1p-24f - 0.5f;
}

Line& Line::text(std::string_view name, std::string_view value) {
  text_ += (text_.empty() ? "{\"" : ", \"") + std::string(name) + "\": \"";
  text_ += std::string(value) + "\"";
  return *this;
}

Line& Line::number(std::string_view name, double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.6g", value);
  text_ += (text_.empty() ? "{\"" : ", \"") + std::string(name) + "\": " + digits;
  return *this;
}

void Line::print() const {
  std::printf("%s}\n", text_.c_str());
  std::fflush(stdout);
}

Arguments::Arguments(int count, char** values)
    : threads_(std::stoi(values[2])), given_(values + 3, values + count) {}

std::string Arguments::text(std::string_view name, std::string_view otherwise) const {
  const std::string prefix = std::string(name) + "=";
  for (const std::string& one : given_) {
    if (one.starts_with(prefix)) return one.substr(prefix.size());
  }
  return std::string(otherwise);
}

int64_t Arguments::number(std::string_view name, int64_t otherwise) const {
  const std::string given = text(name, "");
  return given.empty() ? otherwise : std::stol(given);
}

}  // namespace penstock::bench
