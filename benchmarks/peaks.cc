// What this machine reaches at best, as one JSON object: peaks THREADS ROUNDS BUFFER_BYTES.
// Operations (a multiply and an add count as two) and bytes read from memory per second, each the
// median of ROUNDS measurements over THREADS threads; null where the processor lacks the
// instruction. Each thread reads a buffer of its own of BUFFER_BYTES: choose more than the caches.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/peak.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;
using Words = std::vector<uint64_t>;
constexpr size_t kLanes = 32;  // words of a step of sum_of_words

struct Settings {
  int threads, rounds;
  size_t buffer_words;
};

double median_of(int rounds, const std::function<double()>& measure) {
  measure();  // wakes threads and clocks
  std::vector<double> rates(static_cast<size_t>(rounds));
  for (double& rate : rates) rate = measure();
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() / 2];
}

double read_rate(const std::vector<Words>& buffers, const Parallel& parallel) {
  std::atomic<uint64_t> wrong = 0;
  const Clock::time_point begin = Clock::now();
  parallel.for_each(static_cast<int64_t>(buffers.size()), [&](int64_t task, int) {
    const Words& words = buffers[static_cast<size_t>(task)];
    if (sum_of_words(words.data(), words.size()) != words.size()) ++wrong;
  });
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (wrong != 0) std::abort();
  return static_cast<double>(buffers.size() * buffers[0].size() * sizeof(uint64_t)) / seconds;
}

void print_compute(const char* name, Peak peak, const Settings& settings,
                   const Parallel& parallel) {
  if (!has_peak(peak)) {
    std::printf("\"%s\": null, ", name);
    return;
  }
  const auto measure = [&] { return measure_peak(peak, parallel); };
  std::printf("\"%s\": %.4g, ", name, median_of(settings.rounds, measure));
}

void print_peaks(const Settings& settings) {
  ThreadPool pool(settings.threads);
  const Parallel parallel = pool.parallel();
  std::printf("{\"threads\": %d, \"rounds\": %d, ", settings.threads, settings.rounds);
  print_compute("int8_operations", Peak::int8_dot, settings, parallel);
  print_compute("bf16_operations", Peak::bf16_dot, settings, parallel);
  print_compute("int8_tile_operations", Peak::int8_tile, settings, parallel);
  print_compute("bf16_tile_operations", Peak::bf16_tile, settings, parallel);
  print_compute("fp32_operations", Peak::fma, settings, parallel);
  const std::vector<Words> buffers(static_cast<size_t>(settings.threads),
                                   Words(settings.buffer_words, 1));
  const auto measure = [&] { return read_rate(buffers, parallel); };
  std::printf("\"memory_read_bytes\": %.4g}\n", median_of(settings.rounds, measure));
}

}  // namespace
}  // namespace penstock

int main(int count, char** arguments) {
  if (count != 4) {
    std::fprintf(stderr, "usage: %s THREADS ROUNDS BUFFER_BYTES\n", arguments[0]);
    return 2;
  }
  const size_t block = penstock::kLanes * sizeof(uint64_t);
  const size_t blocks = std::strtoull(arguments[3], nullptr, 10) / block;
  const penstock::Settings settings{std::max(1, std::atoi(arguments[1])),
                                    std::max(1, std::atoi(arguments[2])),
                                    std::max<size_t>(1, blocks) * penstock::kLanes};
  penstock::print_peaks(settings);
  return 0;
}
