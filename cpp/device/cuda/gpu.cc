#include "device/cuda/gpu.h"

#include <memory>

#include "base/error.h"
#include "memory/host_pages.h"

namespace penstock {

using cuda::check_cuda;

namespace {

[[noreturn]] void refuse(int ordinal, const std::string& reason, const std::string& allowed) {
  throw Error(ErrorCode::unsupported, reason,
              {.file = {},
               .field = "device",
               .found = "cuda:" + std::to_string(ordinal),
               .allowed = allowed});
}

}  // namespace

Gpu::Gpu(int ordinal) : ordinal_(ordinal) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    refuse(ordinal,
           std::string("this machine runs no CUDA program (") + cudaGetErrorString(status) +
               "): it needs an NVIDIA GPU and a driver for CUDA 13",
           "cpu, virtual");
  }
  if (ordinal >= count) {
    refuse(ordinal, "there is no such GPU", "cuda:0 to cuda:" + std::to_string(count - 1));
  }
  use();
  int major = 0, minor = 0;
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal),
             "cudaDeviceGetAttribute");
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, ordinal),
             "cudaDeviceGetAttribute");
  check_cuda(
      cudaDeviceGetAttribute(&kind_.multiprocessors, cudaDevAttrMultiProcessorCount, ordinal),
      "cudaDeviceGetAttribute");
  kind_.capability = 10 * major + minor;
  if (kind_.capability < 75) {
    refuse(ordinal,
           "the GPU has compute capability " + std::to_string(major) + "." + std::to_string(minor),
           "7.5 (Turing) and later");
  }
}

void Gpu::use() const { check_cuda(cudaSetDevice(ordinal_), "cudaSetDevice"); }

uint64_t Gpu::free_bytes() const {
  size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return free;
}

Buffer Gpu::allocate(size_t bytes, Budget& budget, const std::string& what) const {
  Reservation paid = budget.reserve(whole_pages(bytes), what);  // as memory is planned
  use();
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the error below reports it; it must not stay
    throw Error(ErrorCode::budget, "the GPU has no room for " + what + ": " +
                                       std::to_string(bytes) + " bytes wanted, " +
                                       std::to_string(free_bytes()) + " free");
  }
  check_cuda(status, "cudaMalloc");
  return {static_cast<std::byte*>(data), bytes, std::move(paid),
          [](std::byte* freed, size_t) { cudaFree(freed); }};
}

Buffer Gpu::allocate_pinned(size_t bytes, Budget& budget, const std::string& what) const {
  Buffer pages = allocate_host(bytes, budget, what);
  if (bytes == 0) return pages;
  use();
  if (cudaHostRegister(pages.data(), bytes, cudaHostRegisterPortable) != cudaSuccess) {
    cudaGetLastError();  // copies are slower then, and that is all
    return pages;
  }
  std::byte* data = pages.data();
  const auto kept = std::make_shared<Buffer>(std::move(pages));
  return {data, bytes, {}, [kept](std::byte* freed, size_t) { cudaHostUnregister(freed); }};
}

GpuStream::GpuStream() {
  check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
}
GpuStream::~GpuStream() { cudaStreamDestroy(stream_); }

GpuEvent::GpuEvent() {
  check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming | cudaEventBlockingSync),
             "cudaEventCreate");
}
GpuEvent::~GpuEvent() { cudaEventDestroy(event_); }
void GpuEvent::record(cudaStream_t stream) {
  check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord");
}
void GpuEvent::wait() const { check_cuda(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

TableRooms::TableRooms(const Gpu& gpu, Size size, Budget& host, Budget& device)
    : bytes_(size.bytes),
      host_(gpu.allocate_pinned(size.count * size.bytes, host, "own needs")),
      device_(gpu.allocate(size.count * size.bytes, device, "own needs")) {}
cuda::TableRoom TableRooms::room(int slot) const {
  const size_t at = static_cast<size_t>(slot) * bytes_;
  return {host_.data() + at, device_.data() + at, bytes_};
}

}  // namespace penstock
