// What CUDA kernels are written against. A kernel is a struct with
//   template <class Thread> void operator()(const Thread& on, const Args& args) const
// that runs once for each thread of a launch and reaches everything CUDA through `on`:
//   int thread(), int64_t block()              of the block, of the launch; both have one dimension
//   int thread_again()                         thread(), found anew instead of kept in a register,
//                                              and so what follows from it
//   int threads()                              of a block, a multiple of kWarp
//   std::byte* shared()                        LaunchShape::shared_bytes, 16-byte aligned
//   void sync()                                all threads of the block
//   T over_warp(T value, Join join)            of 4 bytes; values of a warp joined two by two, of
//                                              lanes 16, 8, 4, 2 and 1 apart: the same bits in all
//                                              if the join does not see which of two is first
//   void add_shared(uint32_t* at, uint32_t v)  to a number in shared(); threads may meet there
//   void multiply_s8(sums, a, b)               16 x 8 int32 sums += 16 x 32 int8 by 32 x 8 int8
//   void multiply_bf16(sums, a, b)             16 x 8 fp32 sums += 16 x 16 bf16 by 16 x 8 bf16
//   void multiply_f16(sums, a, b)              the same of fp16
//   uint32_t add_bf16(uint32_t a, uint32_t b)  two sums of two pairs of bf16
//   void copy_async(to, from)                  16 bytes of global memory to shared(), both 16-byte
//                                              aligned, some time before the wait for their group
//   void copy_async_word(to, from)             the same with 4 bytes, 4-byte aligned
//   void commit_copies()                       ends the group of this thread's copies since the
//                                              last commit; a group may be empty
//   void wait_copies<n>()                      until this thread's groups but the last n are there;
//                                              other threads see them after the next sync()
// over_warp and the products want every lane of a warp together. So one text is compiled for GPUs
// (device_thread.cuh) and, for tests on machines without one, for an emulator that runs the threads
// of a block in turns. Fragments are those of PTX's mma.m16n8k32 and m16n8k16
// (fragments.h).
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#define PENSTOCK_DEVICE __device__
#define PENSTOCK_UNROLL _Pragma("unroll")
#define PENSTOCK_UNROLL_BY(count) _Pragma(PENSTOCK_TEXT(unroll count))
#define PENSTOCK_TEXT(words) #words
#else
#define PENSTOCK_DEVICE
#define PENSTOCK_UNROLL
#define PENSTOCK_UNROLL_BY(count)
#endif

namespace penstock::cuda {

inline constexpr int kWarp = 32;

struct LaunchShape {
  int64_t blocks = 0;
  int threads = 0;
  size_t shared_bytes = 0;
};

// A tile of a product by a warp's tensor cores: what one lane holds of it.
template <class T>
struct Fragment {
  T sums[4] = {};
};
struct FragmentA {
  uint32_t words[4];
};
struct FragmentB {
  uint32_t words[2];
};

}  // namespace penstock::cuda
