// Launches on a GPU: one object for the work of one op on one stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstring>

#include "base/error.h"
#include "kernels/cublaslt/products.h"
#include "kernels/cuda/codes.h"
#include "kernels/params.h"

namespace penstock::cuda {

// Throws Error(device) with the name of the failed call.
void check_cuda(cudaError_t status, const char* call);

// Room for the tables of one op: the host's copy is pinned, the device's is where kernels read it.
struct TableRoom {
  std::byte* host = nullptr;
  std::byte* device = nullptr;
  size_t bytes = 0;
};

// What launches follow from.
struct GpuKind {
  int capability = 0;  // 10 * major + minor
  int multiprocessors = 0;
};

// Memory of the GPU that the launches of one op after the other use.
struct Workspace {
  std::byte* device = nullptr;
  size_t bytes = 0;
};

class GpuLauncher {
 public:
  // `dense`: who multiplies 16-bit weights; null: our own kernels.
  GpuLauncher(cudaStream_t stream, GpuKind kind, TableRoom room, Workspace workspace,
              cublaslt::DenseProducts* dense = nullptr)
      : stream_(stream), kind_(kind), room_(room), workspace_(workspace), dense_(dense) {}

  template <class Kernel, class Args>
  void launch(const LaunchShape& shape, const Args& args);

  // Throws Error(device) when the room is too small.
  template <class T>
  const T* upload(const T* table, int64_t count) {
    if (table == nullptr) return nullptr;
    return static_cast<const T*>(
        place(static_cast<const void*>(table), static_cast<size_t>(count) * sizeof(T)));
  }
  size_t table_bytes() const { return room_.bytes; }
  // Waits for the launches so far.
  void reuse_tables();
  std::byte* workspace() const { return workspace_.device; }
  size_t workspace_bytes() const { return workspace_.bytes; }
  bool bf16_tiles() const { return kind_.capability >= 80; }
  SharedRoom shared_room() const { return cuda::shared_room(kind_.capability); }
  int multiprocessors() const { return kind_.multiprocessors; }
  cublaslt::DenseProducts* dense() const { return dense_; }
  void* stream() const { return stream_; }

 private:
  const void* place(const void* table, size_t bytes);
  void send_tables();  // those placed since the last launch, in one copy

  cudaStream_t stream_;
  GpuKind kind_;
  TableRoom room_;
  Workspace workspace_;
  cublaslt::DenseProducts* dense_;
  size_t used_ = 0, sent_ = 0;
};

// One function a kernel family, each in a file of its own.
void run_on_gpu(GpuLauncher& launcher, const EmbedParams& params);
void run_on_gpu(GpuLauncher& launcher, const NormParams& params);
void run_on_gpu(GpuLauncher& launcher, const PrepareParams& params);
void run_on_gpu(GpuLauncher& launcher, const GemmParams& params);
void run_on_gpu(GpuLauncher& launcher, const GatedParams& params);
void run_on_gpu(GpuLauncher& launcher, const RotaryParams& params);
void run_on_gpu(GpuLauncher& launcher, const KvAppendParams& params);
void run_on_gpu(GpuLauncher& launcher, const AttentionParams& params);
void run_on_gpu(GpuLauncher& launcher, const GatherRowsParams& params);
void run_on_gpu(GpuLauncher& launcher, const ScoreParams& params);
void run_on_gpu(GpuLauncher& launcher, const SampleParams& params);

}  // namespace penstock::cuda
