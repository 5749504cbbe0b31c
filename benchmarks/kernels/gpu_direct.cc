#include "kernels/gpu_direct.h"

#include <memory>
#include <vector>

#include "device/cuda/cuda_device.h"
#include "device/cuda/gpu.h"
#include "kernels/bench.h"
#include "kernels/cuda/gpu_launcher.h"

namespace penstock::bench {
namespace {

constexpr int kOps = 16, kRounds = 7;
constexpr size_t kTableBytes = size_t{1} << 20;  // of an op

// Events that tell the time, unlike those of the device.
class Moment {
 public:
  Moment() { cuda::check_cuda(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Moment() { cudaEventDestroy(event_); }
  Moment(const Moment&) = delete;
  Moment& operator=(const Moment&) = delete;
  void record(cudaStream_t stream) {
    cuda::check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord");
  }
  double seconds_since(const Moment& before) const {
    float milliseconds = 0;
    cuda::check_cuda(cudaEventSynchronize(event_), "cudaEventSynchronize");
    cuda::check_cuda(cudaEventElapsedTime(&milliseconds, before.event_, event_),
                     "cudaEventElapsedTime");
    return milliseconds / 1e3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// As the device has them, on the GPU in use.
std::unique_ptr<cublaslt::DenseProducts> dense_products(const std::string& choice) {
  const cublaslt::Opened opened = cublaslt::open_library(choice);
  if (opened.loaded == nullptr) return nullptr;
  return std::make_unique<cublaslt::DenseProducts>(opened.loaded);
}

}  // namespace

double seconds_on_stream(int gpu, const std::string& cublaslt, const std::function<Op(int)>& op) {
  const Gpu card(gpu);
  card.use();
  const std::unique_ptr<cublaslt::DenseProducts> dense = dense_products(cublaslt);
  Budget host({Tier::host, 0}, uint64_t{1} << 30), memory({Tier::device, 0}, uint64_t{1} << 30);
  const TableRooms rooms(card, {kOps, kTableBytes}, host, memory);
  const Buffer workspace = card.allocate(kCudaWorkspaceBytes, memory, "workspace");
  const GpuStream stream;
  std::vector<double> seconds;
  for (int round = 0; round <= kRounds; ++round) {
    Moment begin, end;
    begin.record(stream.get());
    for (int i = 0; i < kOps; ++i) {
      cuda::GpuLauncher launcher(stream.get(), card.kind(), rooms.room(i),
                                 {workspace.data(), workspace.bytes()}, dense.get());
      std::visit([&](const auto& params) { cuda::run_on_gpu(launcher, params); },
                 op(round * kOps + i));
    }
    end.record(stream.get());
    const double all = end.seconds_since(begin);
    if (round > 0) seconds.push_back(all / kOps);  // the first round warms up
  }
  return median(seconds);
}

}  // namespace penstock::bench
