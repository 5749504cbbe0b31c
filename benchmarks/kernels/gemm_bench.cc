// GEMM speed per ISA and format: one JSON object a line. Weights rotate through more memory than
// most caches hold; the processor's peak and the rate of memory reads are measured in turns with
// the GEMM, so that a loaded machine hurts both.
//   bench_gemm [threads] [isa] [format] [m] [n] [k]      "all" and 0 mean every usual one
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/table.h"
#include "kernels/peak.h"
#include "tensor/quantize.h"

namespace penstock {
namespace {

constexpr int64_t kWeightBytes = int64_t{192} << 20;  // rotated through
constexpr int kRounds = 7;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Bytes {
  explicit Bytes(int64_t size)
      : data(static_cast<std::byte*>(
            ::operator new(static_cast<size_t>(size), std::align_val_t{64}))) {}
  ~Bytes() { ::operator delete(data, std::align_val_t{64}); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  std::byte* data;
};

float noise(uint64_t i) {
  const uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
  return static_cast<float>((z ^ (z >> 29)) >> 40) * 0x1p-24f - 0.5f;
}

int64_t weight_bytes(FormatId id, int64_t n, int64_t k) {
  if (!format(id).quantised()) return n * k * dtype_bytes(format(id).raw);
  return (n + kTileRows - 1) / kTileRows * packed_layout(format(id), k).tile_bytes;
}

// One GEMM with as many weights as fill kWeightBytes.
class Problem {
 public:
  Problem(const KernelTable& table, FormatId id, int64_t m, int64_t n, int64_t k)
      : table_(table),
        id_(id),
        m_(m),
        n_(n),
        k_(k),
        weight_bytes_(penstock::weight_bytes(id, n, k)),
        copies_(std::max<int64_t>(1, kWeightBytes / weight_bytes_)),
        weights_(copies_ * weight_bytes_),
        layout_(prepared_layout_for(format(id), k, false)),
        inputs_(m * layout_.stride_bytes),
        y_(m * n * 4) {
    fill_weights();
    for (int64_t i = 0; i < m * k; ++i) x_.push_back(noise(static_cast<uint64_t>(i)));
  }

  void prepare(const KernelContext& context) {
    table_.prepare({x_.data(), k_, m_, layout_, inputs_.data}, context);
  }

  void run(const KernelContext& context) {
    const WeightPanel panel{weights_.data + next_++ % copies_ * weight_bytes_, 0, n_};
    GemmParams p;
    p.panels = &panel;
    p.panel_count = 1;
    p.format = id_;
    p.x = inputs_.data;
    p.input = layout_;
    p.m = m_;
    p.k = k_;
    p.y = reinterpret_cast<float*>(y_.data);
    p.y_stride = n_;
    table_.gemm(p, context);
  }

  double operations() const { return 2.0 * static_cast<double>(m_ * n_) * static_cast<double>(k_); }

 private:
  void fill_weights() {
    std::vector<float> row(static_cast<size_t>(kTileRows * k_));
    for (size_t i = 0; i < row.size(); ++i) row[i] = noise(i);
    for (int64_t at = 0, i = 0; at < copies_ * weight_bytes_; ++i) {
      if (format(id_).quantised()) {
        const int64_t bytes = packed_layout(format(id_), k_).tile_bytes;
        if (at == 0) {
          pack_tile(format(id_), {row.data(), kTileRows, k_}, k_, weights_.data);
        } else {
          std::memcpy(weights_.data + at, weights_.data, static_cast<size_t>(bytes));
        }
        at += bytes;
      } else {
        store_from_float(weights_.data, format(id_).raw, i,
                         row[static_cast<size_t>(i) % row.size()]);
        at += dtype_bytes(format(id_).raw);
      }
    }
  }

  const KernelTable& table_;
  FormatId id_;
  int64_t m_, n_, k_, weight_bytes_, copies_, next_ = 0;
  Bytes weights_;
  PreparedLayout layout_;
  Bytes inputs_, y_;
  std::vector<float> x_;
};

// Bytes per second at which all threads read memory.
double read_bandwidth(const KernelContext& context) {
  static const std::vector<uint64_t> data(size_t{256} << 17, 1);
  const double begin = now();
  std::vector<uint64_t> sums(64);
  context.parallel.for_each(64, [&](int64_t task, int) {
    const uint64_t* at = data.data() + static_cast<size_t>(task) * (data.size() / 64);
    uint64_t parts[8] = {};
    for (size_t i = 0; i < data.size() / 64; i += 8) {
      for (size_t j = 0; j < 8; ++j) parts[j] += at[i + j];
    }
    for (const uint64_t part : parts) sums[static_cast<size_t>(task)] += part;
  });
  if (sums[0] == 0) std::abort();
  return static_cast<double>(data.size() * 8) / (now() - begin);
}

struct Run {
  std::string_view isa, format;
  int64_t m, n, k;
};

// The instruction the fastest kernel of a format uses; without it there is no fraction.
Peak peak_of(std::string_view isa, std::string_view format) {
  if (format.starts_with("int")) return Peak::int8_dot;
  if (format == "bf16" && isa == "avx512amx") return Peak::bf16_tile;
  return format == "bf16" && isa == "avx512bf16" ? Peak::bf16_dot : Peak::fma;
}

struct Samples {
  std::vector<double> seconds, prepare_seconds, peaks, bandwidths;
};

Samples measure(const Run& run, const KernelContext& context) {
  Problem problem(kernel_table(run.isa), weight_format(run.format), run.m, run.n, run.k);
  const Peak peak = peak_of(run.isa, run.format);
  Samples samples;
  problem.prepare(context);
  problem.run(context);
  const int repeats = static_cast<int>(std::clamp(4e9 / problem.operations(), 1.0, 20.0));
  for (int i = 0; i < kRounds; ++i) {
    samples.peaks.push_back(has_peak(peak) ? measure_peak(peak, context.parallel) : 0.0);
    samples.bandwidths.push_back(read_bandwidth(context));
    const double begin = now();
    problem.prepare(context);
    const double prepared = now();
    for (int r = 0; r < repeats; ++r) problem.run(context);
    samples.prepare_seconds.push_back(prepared - begin);
    samples.seconds.push_back((now() - prepared) / repeats);
  }
  return samples;
}

void report(const Run& run, const KernelContext& context) {
  const Samples samples = measure(run, context);
  const double second = median(samples.seconds), peak = median(samples.peaks);
  const double rate = 2.0 * static_cast<double>(run.m * run.n * run.k) / second;
  const double bytes =
      static_cast<double>(weight_bytes(weight_format(run.format), run.n, run.k)) / second;
  std::printf("{\"isa\": \"%s\", \"format\": \"%s\", \"threads\": %d, ",
              std::string(run.isa).c_str(), std::string(run.format).c_str(),
              context.parallel.workers);
  std::printf("\"m\": %ld, \"n\": %ld, \"k\": %ld, \"seconds\": %.4g, \"prepare_seconds\": %.4g, ",
              static_cast<long>(run.m), static_cast<long>(run.n), static_cast<long>(run.k), second,
              median(samples.prepare_seconds));
  std::printf(
      "\"gops_per_s\": %.1f, \"peak\": \"%s\", \"peak_gops_per_s\": %.1f, \"of_peak\": %.3f, ",
      rate * 1e-9, std::string(peak_name(peak_of(run.isa, run.format))).c_str(), peak * 1e-9,
      peak > 0 ? rate / peak : 0.0);
  const double read = median(samples.bandwidths);
  std::printf("\"weight_gb_per_s\": %.2f, \"read_gb_per_s\": %.2f, \"of_read\": %.3f}\n",
              bytes * 1e-9, read * 1e-9, bytes / read);
  std::fflush(stdout);
}

int run_all(int count, char** values) {
  const auto argument = [&](int i, const char* otherwise) {
    return std::string(i < count ? values[i] : otherwise);
  };
  ThreadPool pool(std::stoi(argument(1, "2")));
  Bytes scratch(pool.threads() * static_cast<int64_t>(kScratchBytesPerWorker));
  const KernelContext context{pool.parallel(), scratch.data};
  const std::string isa = argument(2, "all"), format = argument(3, "all");
  const int64_t m = std::stol(argument(4, "0"));
  for (const std::string_view i : supported_isas()) {
    if (isa != "all" && isa != i) continue;
    for (const std::string_view f :
         {"fp32", "fp16", "bf16", "int8", "int8-g128", "int4-g64", "int4-g128"}) {
      if (format != "all" && format != f) continue;
      for (const int64_t rows : {1, 16, 256}) {
        if (m != 0 && rows != 1) continue;
        report({i, f, m != 0 ? m : rows, std::stol(argument(5, "4096")),
                std::stol(argument(6, "4096"))},
               context);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace penstock

int main(int count, char** values) { return penstock::run_all(count, values); }
