// Kernels for NEON, which every aarch64 processor has.
#include <arm_neon.h>

#include "kernels/attention_state.h"
#include "kernels/cpu/arm.h"
#include "kernels/sample.h"
#include "kernels/views.h"

namespace penstock {
namespace neon_kernels {
namespace {

#include "kernels/cpu/vec_neon.h"

#include "kernels/cpu/bodies/all.inl"

}  // namespace
}  // namespace neon_kernels

void overlay_neon(KernelTable& table) { neon_kernels::overlay(table); }
void gemm_neon(const GemmParams& params, const KernelContext& context) {
  neon_kernels::gemm(params, context);
}
void attention_neon(const AttentionParams& params, const KernelContext& context) {
  neon_kernels::attention(params, context);
}

}  // namespace penstock
