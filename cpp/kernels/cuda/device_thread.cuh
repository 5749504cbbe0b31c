// What a kernel reaches through its thread on a GPU (simt.h).
#pragma once

#include "kernels/cuda/simt.h"

namespace penstock::cuda {

struct DeviceThread {
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int thread_again() const {
    int thread = 0;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread;
  }
  __device__ int threads() const { return static_cast<int>(blockDim.x); }
  __device__ int64_t block() const { return blockIdx.x; }
  __device__ std::byte* shared() const {
    extern __shared__ uint4 room[];
    return reinterpret_cast<std::byte*>(room);
  }
  __device__ void sync() const { __syncthreads(); }
  template <class T, class Join>
  __device__ T over_warp(T value, Join join) const {
    static_assert(sizeof(T) == 4);
    for (int step = kWarp / 2; step > 0; step /= 2) {
      value = join(value, __shfl_xor_sync(0xffffffffu, value, step));
    }
    return value;
  }

  __device__ void add_shared(uint32_t* at, uint32_t value) const { atomicAdd(at, value); }

  __device__ void multiply_s8(Fragment<int32_t>& sums, const FragmentA& a,
                              const FragmentB& b) const {
    int32_t (&d)[4] = sums.sums;
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b.words[0]),
          "r"(b.words[1]));
#else
    // Turing multiplies 8 rows by 16 k at a time.
    multiply_quarter(d[0], d[1], a.words[0], b.words[0]);
    multiply_quarter(d[2], d[3], a.words[1], b.words[0]);
    multiply_quarter(d[0], d[1], a.words[2], b.words[1]);
    multiply_quarter(d[2], d[3], a.words[3], b.words[1]);
#endif
  }

  __device__ void multiply_bf16(Fragment<float>& sums, const FragmentA& a,
                                const FragmentB& b) const {
#if __CUDA_ARCH__ >= 800
    float (&d)[4] = sums.sums;
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b.words[0]),
          "r"(b.words[1]));
#else
    __trap();  // never launched there
#endif
  }
  __device__ void multiply_f16(Fragment<float>& sums, const FragmentA& a,
                               const FragmentB& b) const {
    float (&d)[4] = sums.sums;
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b.words[0]),
          "r"(b.words[1]));
#else
    // Turing multiplies 8 k at a time.
    multiply_half(d, a.words[0], a.words[1], b.words[0]);
    multiply_half(d, a.words[2], a.words[3], b.words[1]);
#endif
  }
  __device__ uint32_t add_bf16(uint32_t a, uint32_t b) const {
    uint32_t sum = 0;
#if __CUDA_ARCH__ >= 800
    // An instruction of its own for sums came with sm_90; times one is exact.
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(0x3f803f80u), "r"(b));
#else
    __trap();  // never launched there
#endif
    return sum;
  }

  __device__ void copy_async(std::byte* to, const std::byte* from) const {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                     static_cast<uint32_t>(__cvta_generic_to_shared(to))),
                 "l"(__cvta_generic_to_global(from))
                 : "memory");
#else
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
#endif
  }
  __device__ void copy_async_word(std::byte* to, const std::byte* from) const {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(
                     static_cast<uint32_t>(__cvta_generic_to_shared(to))),
                 "l"(__cvta_generic_to_global(from))
                 : "memory");
#else
    *reinterpret_cast<uint32_t*>(to) = *reinterpret_cast<const uint32_t*>(from);
#endif
  }
  __device__ void commit_copies() const {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
  }
  template <int kGroups>
  __device__ void wait_copies() const {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#endif
  }

 private:
  __device__ static void multiply_half(float (&d)[4], uint32_t upper, uint32_t lower, uint32_t b) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(upper), "r"(lower), "r"(b));
  }
  __device__ static void multiply_quarter(int32_t& left, int32_t& right, uint32_t a, uint32_t b) {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
        : "+r"(left), "+r"(right)
        : "r"(a), "r"(b));
  }
};

}  // namespace penstock::cuda
