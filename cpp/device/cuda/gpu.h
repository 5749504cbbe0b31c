// One GPU: what it is, its memory, streams and events. All calls are checked; a failure is
// Error(device).
#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <vector>

#include "kernels/cuda/gpu_launcher.h"
#include "memory/buffer.h"

namespace penstock {

class Gpu {
 public:
  // Throws Error(unsupported) without a driver, without such a GPU, or for one older than Turing.
  explicit Gpu(int ordinal);

  void use() const;  // by the calling thread from now on
  const cuda::GpuKind& kind() const { return kind_; }
  int capability() const { return kind_.capability; }
  int multiprocessors() const { return kind_.multiprocessors; }
  uint64_t free_bytes() const;
  // Plain device memory. Throws Error(budget), also when the GPU has no room.
  Buffer allocate(size_t bytes, Budget& budget, const std::string& what) const;
  // Host memory that all GPUs copy to and from without a detour. Where the driver does not take
  // it, it is as any other.
  Buffer allocate_pinned(size_t bytes, Budget& budget, const std::string& what) const;

 private:
  int ordinal_;
  cuda::GpuKind kind_;
};

class GpuStream {
 public:
  GpuStream();
  ~GpuStream();
  GpuStream(const GpuStream&) = delete;
  GpuStream& operator=(const GpuStream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class GpuEvent {
 public:
  GpuEvent();
  ~GpuEvent();
  GpuEvent(const GpuEvent&) = delete;
  GpuEvent& operator=(const GpuEvent&) = delete;
  void record(cudaStream_t stream);
  void wait() const;

 private:
  cudaEvent_t event_ = nullptr;
};

// Rooms for the tables of the ops in flight: pinned memory of the host and as much of the GPU's,
// charged to their budgets.
class TableRooms {
 public:
  struct Size {
    int count;
    size_t bytes;  // of one
  };
  TableRooms(const Gpu& gpu, Size size, Budget& host, Budget& device);
  cuda::TableRoom room(int slot) const;

 private:
  size_t bytes_;
  Buffer host_, device_;
};

}  // namespace penstock
