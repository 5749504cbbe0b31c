#include "kernels/cuda/gpu_launcher.h"

#include <string>

namespace penstock::cuda {

void check_cuda(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  throw Error(ErrorCode::device, std::string("CUDA: ") + call + ": " + cudaGetErrorString(status));
}

const void* GpuLauncher::place(const void* table, size_t bytes) {
  constexpr size_t kAlignment = 16;
  const size_t begin = (used_ + kAlignment - 1) / kAlignment * kAlignment;
  if (begin + bytes > room_.bytes) {
    throw Error(ErrorCode::device, "CUDA: the tables of one op need more than " +
                                       std::to_string(room_.bytes) + " bytes");
  }
  std::memcpy(room_.host + begin, table, bytes);
  used_ = begin + bytes;
  return room_.device + begin;
}

void GpuLauncher::reuse_tables() {
  check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  used_ = sent_ = 0;
}

void GpuLauncher::send_tables() {
  if (sent_ == used_) return;
  check_cuda(cudaMemcpyAsync(room_.device + sent_, room_.host + sent_, used_ - sent_,
                             cudaMemcpyHostToDevice, stream_),
             "copy of tables");
  sent_ = used_;
}

}  // namespace penstock::cuda
