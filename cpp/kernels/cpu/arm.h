// The kernels of aarch64 processors, and who runs them. Light for the same reason as isa.h.
#pragma once

#include "kernels/cpu/isa.h"

namespace penstock {

// Each replaces entries of the table. It is compiled for its ISA, so it may be called only where
// that runs.
void overlay_neon(KernelTable& table);
void overlay_neon_dotprod(KernelTable& table);
void overlay_neon_bf16(KernelTable& table);
// What the files after them leave to NEON, and to NEON with dot products of bytes.
void gemm_neon(const GemmParams& params, const KernelContext& context);
void attention_neon(const AttentionParams& params, const KernelContext& context);
void gemm_neon_dotprod(const GemmParams& params, const KernelContext& context);
void attention_neon_dotprod(const AttentionParams& params, const KernelContext& context);

// Whether the processor can run the files compiled for this ISA.
bool runs_neon();
bool runs_neon_dotprod();
bool runs_neon_bf16();

}  // namespace penstock
