// Runs CUDA kernels on the host: the threads of a block as coroutines that take turns at barriers
// and exchanges, one block after the other. Shared memory begins as NaN patterns. Threads take
// their turns in an order that depends on a seed, so that a missing barrier shows. An asynchronous
// copy leaves NaN patterns where it goes and happens at the wait for it, not before. What a GPU
// would leave undefined is an error: threads that leave while others wait or with copies under way,
// lanes of a warp that meet in different exchanges, copies that are not aligned.
#pragma once

#include <functional>
#include <memory>

#include "kernels/cpu/isa.h"
#include "kernels/cublaslt/products.h"
#include "kernels/cuda/codes.h"
#include "kernels/cuda/dequantise.h"
#include "kernels/cuda/fragments.h"
#include "kernels/views.h"

namespace penstock::test {

class Emulator;

// What a kernel sees of the emulator (kernels/cuda/simt.h).
class EmulatedThread {
 public:
  EmulatedThread(Emulator& emulator, int thread) : emulator_(emulator), thread_(thread) {}

  int thread() const { return thread_; }
  int thread_again() const { return thread_; }
  int threads() const;
  int64_t block() const;
  std::byte* shared() const;
  void sync() const;
  template <class T, class Join>
  T over_warp(T value, Join join) const {
    static_assert(sizeof(T) == 4);
    const auto joined = [&join](uint32_t a, uint32_t b) {
      return std::bit_cast<uint32_t>(join(std::bit_cast<T>(a), std::bit_cast<T>(b)));
    };
    return std::bit_cast<T>(reduce(std::bit_cast<uint32_t>(value), joined));
  }
  void add_shared(uint32_t* at, uint32_t value) const { *at += value; }
  void multiply_s8(cuda::Fragment<int32_t>& sums, const cuda::FragmentA& a,
                   const cuda::FragmentB& b) const;
  void multiply_bf16(cuda::Fragment<float>& sums, const cuda::FragmentA& a,
                     const cuda::FragmentB& b) const;
  void multiply_f16(cuda::Fragment<float>& sums, const cuda::FragmentA& a,
                    const cuda::FragmentB& b) const;
  uint32_t add_bf16(uint32_t a, uint32_t b) const;
  void copy_async(std::byte* to, const std::byte* from) const;
  void copy_async_word(std::byte* to, const std::byte* from) const;
  void commit_copies() const;
  template <int kGroups>
  void wait_copies() const {
    wait_copies_but(kGroups);
  }

 private:
  using JoinWords = const std::function<uint32_t(uint32_t, uint32_t)>&;
  uint32_t reduce(uint32_t value, JoinWords join) const;
  void wait_copies_but(size_t groups) const;

  Emulator& emulator_;
  int thread_;
};

using EmulatedBody = std::function<void(const EmulatedThread&)>;
// Runs the body for every thread of the launch.
void emulate(const cuda::LaunchShape& shape, uint64_t seed, const EmulatedBody& body);

// The CUDA kernels as a kernel table, by the emulator.
const KernelTable& emulated_cuda_table();
// As GPUs without bf16 tensor cores and asynchronous copies launch them.
const KernelTable& emulated_turing_table();
// A product that `dense` does where it takes it, in the workspace of the emulator.
void emulate_dense(const GemmParams& params, cublaslt::DenseProducts* dense);
// Quantised weights that become bf16 for `dense`, whatever the input rows; false where it does not
// take them. `workspace_bytes` of the launcher's are used.
bool emulate_dequantised(const GemmParams& params, cublaslt::DenseProducts* dense,
                         size_t workspace_bytes);
// The conversion alone, of tiles in any layout.
void emulate_dequantise(const cuda::DequantiseArgs& args);
// A product of weights in any layout of codes, also those of no format, by bf16 inputs.
void emulate_weight_only(const GemmParams& params, const WeightView& view);
// The same by int8 inputs, cut by the plan but for its numbers of blocks.
void emulate_codes(const GemmParams& params, const WeightView& view, cuda::CodesPlan plan);

}  // namespace penstock::test
