#include "device/cuda/cuda_device.h"

#include <cuda_runtime_api.h>

#include <array>
#include <charconv>

#include "base/error.h"
#include "device/cuda/gpu.h"
#include "device/lane_use.h"
#include "device/operands.h"
#include "kernels/cuda/gemm_dequantised.h"
#include "kernels/cuda/gpu_launcher.h"

namespace penstock {
namespace {

using cuda::check_cuda;

constexpr int kDepth = 8;                                 // ops and copies in flight on a lane
constexpr size_t kTableBytes = kCudaTableBytes / kDepth;  // of one op

// What follows "cuda:". Throws Error(unsupported).
int parse_number(std::string_view text) {
  int number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0) {
    throw Error(ErrorCode::unsupported, "unknown device",
                {.file = {},
                 .field = "device",
                 .found = "cuda:" + escape_for_message(text),
                 .allowed = "cuda:N, N the number of one GPU"});
  }
  return number;
}

Budget& memory_of(const DeviceOptions& options) {
  check(options.memory != nullptr, "a GPU's own needs have a budget");
  return *options.memory;
}

struct RunOnGpu {
  cuda::GpuLauncher& launcher;
  template <class Params>
  void operator()(const Params& params) const {
    cuda::run_on_gpu(launcher, params);
  }
};

constexpr int kBf16 = 80;  // the first capability with tensor cores for it

// cuBLASLt for dense products of fp16 and, where the GPU has such tensor cores, of bf16, if the
// machine has it.
struct DenseLibrary {
  std::unique_ptr<cublaslt::DenseProducts> products;  // null: our own kernels
  std::string isa, about;                             // for DeviceInfo
};

DenseLibrary open_dense(const Gpu& gpu, const std::string& choice) {
  DenseLibrary dense;
  dense.isa = "sm_" + std::to_string(gpu.capability());
  const cublaslt::Opened opened = cublaslt::open_library(choice);
  if (opened.loaded == nullptr) {
    dense.about = "own kernels: " + opened.reason;
    return dense;
  }
  gpu.use();
  dense.products = std::make_unique<cublaslt::DenseProducts>(opened.loaded);
  // Its choice of an algorithm, and so the bits, may follow from all of these.
  dense.isa += "x" + std::to_string(gpu.multiprocessors()) + "+cublasLt" + opened.loaded->version;
  dense.about = "cuBLASLt " + opened.loaded->version;
  if (gpu.capability() < kBf16) {
    dense.about += "; bf16 by own kernels: the GPU has no tensor cores for it";
  }
  return dense;
}

class CudaDevice : public Device {
 public:
  CudaDevice(int number, const DeviceOptions& options, LaneSet& lanes, Budget& host)
      : gpu_(number),
        lanes_(lanes),
        own_(options.ordinal),
        dense_(open_dense(gpu_, options.cublaslt)),
        tables_(gpu_, {kDepth, kTableBytes}, host, memory_of(options)),
        workspace_(gpu_.allocate(kCudaWorkspaceBytes, memory_of(options), "own needs")) {
    info_.name = "cuda";
    info_.isa = dense_.isa;
    info_.products = dense_.about;
    info_.memory = Tier::device;
    info_.weight_only = true;
    if (dense_.products != nullptr && gpu_.capability() >= kBf16) {
      info_.variant_rows = cuda::kDequantiseKnee;
    }
    info_.raw_inputs = {InputKind::f16, gpu_.capability() < 80 ? InputKind::f16 : InputKind::bf16};
    info_.capacity_bytes = gpu_.free_bytes();
    LaneOptions lane;
    lane.depth = kDepth;
    for (const LaneId id : {own_.compute, own_.h2d, own_.d2h}) lanes_.open(id, lane);
  }
  ~CudaDevice() override {
    for (const LaneId id : {own_.h2d, own_.compute, own_.d2h}) settle(lanes_, id);
  }

  const DeviceInfo& info() const override { return info_; }

  Buffer allocate(size_t bytes, Budget& budget, const std::string& what) override {
    if (budget.place().tier == Tier::host) return gpu_.allocate_pinned(bytes, budget, what);
    return gpu_.allocate(bytes, budget, what);
  }

  Ticket copy(const CopyParams& params, std::span<const Ticket> after, int64_t tag) override {
    check(params.source || params.direction == CopyDirection::within,
          "only a copy within a device has no source");
    const LaneId lane = own_.of(params.direction);
    return submit(lane, after, tag, {params.source ? params.bytes : 0, name_of(params)},
                  [this, params, lane](int) {
                    if (params.source == nullptr) return;  // content no longer matters
                    check_cuda(cudaMemcpyAsync(params.destination, params.source, params.bytes,
                                               kind_of(params.direction), stream(lane)),
                               "cudaMemcpyAsync");
                  });
  }

  Ticket run(const Op& op, std::span<const Ticket> after, int64_t tag) override {
    return submit(own_.compute, after, tag, {0, op_name(op)}, [this, op](int slot) {
      cuda::GpuLauncher launcher(stream(own_.compute), gpu_.kind(), tables_.room(slot),
                                 {workspace_.data(), workspace_.bytes()}, dense_.products.get());
      std::visit(RunOnGpu{launcher}, op);
    });
  }

  void wait(Ticket ticket) override { lanes_.wait(ticket); }

 private:
  struct Label {
    size_t bytes;
    const char* name;
  };
  // A lane: its stream, and an event for each task in flight.
  struct Queue {
    GpuStream stream;
    std::array<GpuEvent, kDepth> events;
    size_t begun = 0;
  };

  static cudaMemcpyKind kind_of(CopyDirection direction) {
    if (direction == CopyDirection::peer) return cudaMemcpyDefault;  // by the addresses
    if (direction == CopyDirection::within) return cudaMemcpyDeviceToDevice;
    return direction == CopyDirection::h2d ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
  }
  Queue& queue(LaneId lane) {
    return queues_[lane.kind == LaneKind::compute ? 0 : (lane.kind == LaneKind::h2d ? 1 : 2)];
  }
  cudaStream_t stream(LaneId lane) { return queue(lane).stream.get(); }

  // `work` is given its slot, which no other task in flight has. What comes before it on its
  // own lane is before it on its stream too, so the lane need not wait for that.
  template <class Work>
  Ticket submit(LaneId lane, std::span<const Ticket> after, int64_t tag, Label label, Work work) {
    LaneTask task;
    task.bytes = label.bytes;
    task.label = label.name;
    task.tag = tag;
    for (const Ticket& ticket : after) {
      if (!(ticket.lane == lane)) task.after.push_back(ticket);
    }
    const auto slot = std::make_shared<size_t>(0);
    task.begin = [this, lane, slot, work] {
      *slot = queue(lane).begun++ % kDepth;
      gpu_.use();
      work(static_cast<int>(*slot));
      queue(lane).events[*slot].record(stream(lane));
    };
    task.finish = [this, lane, slot] {
      gpu_.use();
      queue(lane).events[*slot].wait();
    };
    return lanes_.submit(lane, std::move(task));
  }

  Gpu gpu_;
  LaneSet& lanes_;
  DeviceLanes own_;
  DenseLibrary dense_;
  DeviceInfo info_;
  TableRooms tables_;
  Buffer workspace_;  // ops on the compute stream follow each other
  std::array<Queue, 3> queues_;
};

}  // namespace

uint64_t free_cuda_bytes(std::string_view number) { return Gpu(parse_number(number)).free_bytes(); }

GpuReport find_gpus() {
  GpuReport report{true, {}, ""};
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) report.missing = cudaGetErrorString(status);
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cudaDeviceProp about{};
    check_cuda(cudaGetDeviceProperties(&about, ordinal), "cudaGetDeviceProperties");
    const std::string capability = std::to_string(about.major) + "." + std::to_string(about.minor);
    report.gpus.push_back({about.name, capability, about.totalGlobalMem});
  }
  return report;
}

std::unique_ptr<Device> open_cuda_device(std::string_view number, const DeviceOptions& options,
                                         LaneSet& lanes, Budget& host) {
  return std::make_unique<CudaDevice>(parse_number(number), options, lanes, host);
}

}  // namespace penstock
