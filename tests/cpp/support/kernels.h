// What kernel tests share: a context with threads and scratch, aligned bytes, every ISA of this
// processor.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/table.h"
#include "support/random.h"
#include "support/simt_emulator.h"
#include "support/test_device.h"

namespace penstock::test {

class AlignedBytes {
 public:
  explicit AlignedBytes(int64_t size, int fill = 0x7f)
      : size_(static_cast<size_t>(size)),
        data_(static_cast<std::byte*>(::operator new(size_ + 64, std::align_val_t{64}))) {
    std::memset(data_, fill, size_);  // floats of 0x7f7f7f7f: large, not zero
  }
  ~AlignedBytes() { ::operator delete(data_, std::align_val_t{64}); }
  AlignedBytes(const AlignedBytes&) = delete;
  AlignedBytes& operator=(const AlignedBytes&) = delete;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  size_t size_;
  std::byte* data_;
};

class TestContext {
 public:
  explicit TestContext(int threads)
      : pool_(threads), scratch_(threads * static_cast<int64_t>(kScratchBytesPerWorker)) {
    context_ = {pool_.parallel(), scratch_.data()};
  }
  operator const KernelContext&() const { return context_; }

 private:
  ThreadPool pool_;
  AlignedBytes scratch_;
  KernelContext context_;
};

// One ISA's kernels and where they run.
struct Kernels {
  const KernelTable& table;
  const KernelContext& context;
};

// The CUDA kernels: by the GPU that is the test device, or by the emulator.
inline const KernelTable& cuda_kernel_table() {
  const KernelTable* device = device_kernel_table();
  return device != nullptr && test_device() != "virtual" ? *device : emulated_cuda_table();
}

// Calls f(table) for every ISA this processor runs, and for the kernels of the test device, without
// one for the emulated CUDA kernels.
template <class F>
void for_each_isa(F f) {
  for (const std::string_view isa : supported_isas()) {
    SCOPED_TRACE(std::string(isa));
    f(kernel_table(isa));
  }
  if (const KernelTable* device = device_kernel_table()) {
    SCOPED_TRACE(test_device());
    f(*device);
    return;
  }
  SCOPED_TRACE("CUDA, emulated");
  f(emulated_cuda_table());
}

inline void expect_same_bits(const float* a, const float* b, int64_t count, const char* what) {
  ASSERT_EQ(std::memcmp(a, b, static_cast<size_t>(count) * sizeof(float)), 0) << what;
}

}  // namespace penstock::test
