// bench_gpu copy 1 [device=D] [bytes=B]
// bench_gpu gemm 1 [device=D] [format=F] [compute=C] [invariant=0|1] [rows=M,M,...] [n=N] [k=K]
//                  [rotated=BYTES] [cublaslt=FILE|off]
// bench_gpu attention 1 [device=D] [formats=F,F,...] [keys=K,K,...] [heads=H] [kv_heads=G]
//                       [rotated=BYTES]
// bench_gpu sample 1 [device=D] [rows=M] [columns=VOCABULARY]
// Each prints a JSON object a line; D is cuda:0 unless given, and may be virtual.
#include "kernels/gpu_bench.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "kernels/gpu_direct.h"

namespace penstock::bench {
namespace {

constexpr int kRounds = 7, kMostOps = 256;
constexpr double kRoundSeconds = 0.02;

constexpr int64_t kPiece = int64_t{64} << 20;  // of uploads

}  // namespace

std::vector<int64_t> numbers(const std::string& list) {
  std::vector<int64_t> found;
  std::stringstream stream(list);
  for (std::string one; std::getline(stream, one, ',');) found.push_back(std::stol(one));
  return found;
}

GpuBench::GpuBench(const Arguments& arguments)
    : spec_(arguments.text("device", "cuda:0")), cublaslt_(arguments.text("cublaslt", "")) {
  DeviceOptions options;
  options.spec = spec_;
  options.threads = arguments.threads();
  options.memory = &device_memory_;
  options.device_memory = device_memory_.limit();
  options.cublaslt = cublaslt_;
  device_ = open_device(options, lanes_, host_);
}

void GpuBench::upload(std::byte* to, const std::byte* from, int64_t bytes) {
  device_->wait(device_->copy({to, from, static_cast<size_t>(bytes), CopyDirection::h2d}, {}));
}

void GpuBench::upload_floats(std::byte* to, int64_t count, float scale) {
  const int64_t most = kPiece / 4;
  Buffer piece = on_host(std::min(count, most) * 4);
  for (int64_t at = 0; at < count; at += most) {
    const int64_t some = std::min(most, count - at);
    for (int64_t i = 0; i < some; ++i) {
      const float value = scale * noise(static_cast<uint64_t>(at + i));
      std::memcpy(piece.data() + i * 4, &value, sizeof value);
    }
    upload(to + at * 4, piece.data(), some * 4);
  }
}

double GpuBench::seconds_between_waits(int count, const std::function<Ticket(int)>& submit) {
  const double begin = now();
  Ticket last{};
  for (int i = 0; i < count; ++i) last = submit(i);
  device_->wait(last);
  return (now() - begin) / count;
}

OpSeconds GpuBench::seconds_of(const OpAt& op) {
  const auto submit = [&](int i) { return device_->run(op(i), {}); };
  seconds_between_waits(2, submit);
  const double one = seconds_between_waits(1, submit);
  const int count = static_cast<int>(std::clamp(kRoundSeconds / one, 1.0, double{kMostOps}));
  std::vector<double> seconds;
  for (int round = 0; round < kRounds; ++round) {
    seconds.push_back(seconds_between_waits(count, submit));
  }
  OpSeconds found{median(seconds), 0};
  if (device_kind(spec_) == "cuda") {
    found.on_stream =
        seconds_on_stream(static_cast<int>(std::stol(spec_.substr(5))), cublaslt_, op);
  }
  return found;
}

double GpuBench::copy_rate(CopyDirection direction, int64_t bytes) {
  const Buffer from = direction == CopyDirection::h2d ? on_host(bytes) : on_device(bytes);
  const Buffer to = direction == CopyDirection::d2h ? on_host(bytes) : on_device(bytes);
  const auto submit = [&](int) {
    return device_->copy({to.data(), from.data(), static_cast<size_t>(bytes), direction}, {});
  };
  seconds_between_waits(1, submit);
  std::vector<double> seconds;
  for (int round = 0; round < kRounds; ++round) seconds.push_back(seconds_between_waits(8, submit));
  const double moved = static_cast<double>(bytes) * (direction == CopyDirection::within ? 2 : 1);
  return moved / median(seconds);
}

Line GpuBench::line() const {
  return Line().text("device", device_->info().name).text("kernels", device_->info().isa);
}

namespace {

void run_copies(const Arguments& arguments, GpuBench& bench) {
  const int64_t bytes = arguments.number("bytes", int64_t{1} << 30);
  bench.line()
      .number("bytes", static_cast<double>(bytes))
      .number("copy_bytes_per_second", bench.copy_rate(CopyDirection::within, bytes))
      .number("h2d_bytes_per_second", bench.copy_rate(CopyDirection::h2d, bytes))
      .number("d2h_bytes_per_second", bench.copy_rate(CopyDirection::d2h, bytes))
      .print();
}

}  // namespace
}  // namespace penstock::bench

int main(int count, char** values) {
  using namespace penstock;
  const std::string_view what = count > 2 ? values[1] : "";
  if (what != "copy" && what != "gemm" && what != "attention" && what != "sample") {
    std::fprintf(stderr, "usage: %s copy|gemm|attention|sample THREADS [NAME=VALUE ...]\n",
                 values[0]);
    return 2;
  }
  try {
    const bench::Arguments arguments(count, values);
    bench::GpuBench opened(arguments);
    if (what == "copy") bench::run_copies(arguments, opened);
    if (what == "gemm") bench::run_gpu_gemm(arguments, opened);
    if (what == "attention") bench::run_gpu_attention(arguments, opened);
    if (what == "sample") bench::run_gpu_sample(arguments, opened);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
