// Memory and timing of the benchmarks of CPU kernels.
#include "kernels/bench.h"

#include <algorithm>
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

}  // namespace penstock::bench
