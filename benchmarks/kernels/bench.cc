// What the kernel benchmarks share.
#include "kernels/bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "memory/host_pages.h"

namespace penstock::bench {
namespace {

constexpr int kRounds = 7;

// Bytes per second at which all threads read memory.
double read_rate(const Parallel& parallel) {
  constexpr size_t kWords = kRotatedBytes / sizeof(uint64_t), kPieces = 64;
  static const Bytes memory(kWords * sizeof(uint64_t));
  auto* words = static_cast<uint64_t*>(static_cast<void*>(memory.data()));
  if (words[0] == 0) std::fill_n(words, kWords, 1);
  const double begin = now();
  std::vector<uint64_t> sums(kPieces);
  parallel.for_each(kPieces, [&](int64_t task, int) {
    constexpr size_t kPiece = kWords / kPieces;
    sums[static_cast<size_t>(task)] =
        sum_of_words(words + static_cast<size_t>(task) * kPiece, kPiece);
  });
  if (sums[0] == 0) std::abort();
  return static_cast<double>(kWords * sizeof(uint64_t)) / (now() - begin);
}

}  // namespace

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

Bytes::Bytes(int64_t size)
    : size_(whole_pages(static_cast<size_t>(size))), data_(map_host_pages(size_)) {}
Bytes::~Bytes() { unmap_host_pages(data_, size_); }

Timing time_beside(Peak peak, const KernelContext& context, int calls,
                   const std::function<void()>& work) {
  std::vector<double> seconds, peaks, reads;
  work();
  for (int i = 0; i < kRounds; ++i) {
    peaks.push_back(has_peak(peak) ? measure_peak(peak, context.parallel) : 0.0);
    reads.push_back(read_rate(context.parallel));
    const double begin = now();
    for (int call = 0; call < calls; ++call) work();
    seconds.push_back((now() - begin) / calls);
  }
  return {median(seconds), median(peaks), median(reads)};
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
