// What the kernel benchmarks share: aligned memory, random data, medians, the rate of memory reads,
// and the line of JSON each prints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.h"
#include "kernels/cpu/isa.h"
#include "kernels/peak.h"

namespace penstock::bench {

inline constexpr int64_t kRotatedBytes = int64_t{768} << 20;  // more than caches hold

double now();  // seconds
double median(std::vector<double> values);
float noise(uint64_t i);  // the same for the same i, uniform in [-0.5, 0.5)

// Memory as the engine takes it: huge pages where the system has them.
class Bytes {
 public:
  explicit Bytes(int64_t size);
  ~Bytes();
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  std::byte* data() const { return data_; }
  float* floats() const { return static_cast<float*>(static_cast<void*>(data_)); }

 private:
  size_t size_;
  std::byte* data_;
};

// Medians of rounds of some work, each beside the processor's peak and the rate of memory reads, so
// that a loaded machine hurts all three.
struct Timing {
  double seconds = 0;  // of one call
  double peak = 0;     // operations per second; 0: the processor has no such instruction
  double read = 0;     // bytes per second
};
// `calls` calls a round.
Timing time_beside(Peak peak, const KernelContext& context, int calls,
                   const std::function<void()>& work);

// A line of JSON.
class Line {
 public:
  Line& text(std::string_view name, std::string_view value);
  Line& number(std::string_view name, double value);
  void print() const;

 private:
  std::string text_;
};

// How a subcommand is called: bench_kernels WHAT THREADS [NAME=VALUE ...].
class Arguments {
 public:
  Arguments(int count, char** values);
  int threads() const { return threads_; }
  std::string text(std::string_view name, std::string_view otherwise) const;
  int64_t number(std::string_view name, int64_t otherwise) const;

 private:
  int threads_;
  std::vector<std::string> given_;
};

void run_gemm(const Arguments& arguments, const KernelContext& context);
void run_attention(const Arguments& arguments, const KernelContext& context);
void run_layer(const Arguments& arguments, const KernelContext& context);

}  // namespace penstock::bench
