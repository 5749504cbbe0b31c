// The kernels of x86-64 processors, and who runs them. Light for the same reason as isa.h.
#pragma once

#include "kernels/cpu/isa.h"

namespace penstock {

// Each replaces entries of the table. It is compiled for its ISA, so it may be called only where
// that runs.
void overlay_avx2(KernelTable& table);
void overlay_avx2vnni(KernelTable& table);
void overlay_avx512(KernelTable& table);
void overlay_avx512bf16(KernelTable& table);
void overlay_avx512amx(KernelTable& table);
// What the kernels of VNNI leave to AVX2.
void gemm_avx2(const GemmParams& params, const KernelContext& context);
void attention_avx2(const AttentionParams& params, const KernelContext& context);
// What the bf16 kernels leave to AVX-512.
void gemm_avx512(const GemmParams& params, const KernelContext& context);
void attention_avx512(const AttentionParams& params, const KernelContext& context);

// Whether processor and operating system can run the files compiled for this ISA.
bool runs_avx2();
bool runs_avx2vnni();
bool runs_avx512();
bool runs_avx512bf16();
bool runs_avx512amx();  // asks the system for the tile registers, once for the process
// Whether dot products of bf16 pairs are faster than fp32 multiply-adds.
bool prefers_bf16_dot();

}  // namespace penstock
