// What the benchmarks of accelerators share: a device with its memory, ops timed through the device
// and, on a GPU, on a stream of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "kernels/bench.h"

namespace penstock::bench {

// The op to run as the i-th, so that weights rotate. What it points to stays until the next wait.
using OpAt = std::function<Op(int)>;

struct OpSeconds {
  double through_device = 0;  // lane, launch and event of each op included, as engines run them
  double on_stream = 0;       // between events of one stream; 0: not a GPU
};

class GpuBench {
 public:
  explicit GpuBench(const Arguments& arguments);

  Buffer on_device(int64_t bytes) { return take(bytes, device_memory_); }
  Buffer on_host(int64_t bytes) { return take(bytes, host_); }  // pinned
  void upload(std::byte* to, const std::byte* from, int64_t bytes);
  void upload_floats(std::byte* to, int64_t count, float scale);  // random ones
  const DeviceInfo& info() const { return device_->info(); }
  void run_once(const Op& op) { device_->wait(device_->run(op, {})); }
  // Medians of rounds of many ops between waits.
  OpSeconds seconds_of(const OpAt& op);
  // Bytes that a copy reads and writes in a second.
  double copy_rate(CopyDirection direction, int64_t bytes);
  // {"device": ..., "gpu": ...}, for other figures to follow.
  Line line() const;

 private:
  Buffer take(int64_t bytes, Budget& budget) {
    return device_->allocate(static_cast<size_t>(bytes), budget, "benchmark");
  }
  double seconds_between_waits(int count, const std::function<Ticket(int)>& submit);

  std::string spec_, cublaslt_;
  Budget host_{{Tier::host, 0}, uint64_t{16} << 30};
  Budget device_memory_{{Tier::device, 0}, uint64_t{64} << 30};
  LaneSet lanes_;
  std::unique_ptr<Device> device_;
};

// "1,2,16" as numbers.
std::vector<int64_t> numbers(const std::string& list);

void run_gpu_gemm(const Arguments& arguments, GpuBench& bench);
void run_gpu_attention(const Arguments& arguments, GpuBench& bench);
void run_gpu_sample(const Arguments& arguments, GpuBench& bench);

}  // namespace penstock::bench
