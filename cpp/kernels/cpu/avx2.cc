// Kernels for AVX2 with FMA and F16C; compiled with these instruction sets.
#include <immintrin.h>

#include "kernels/attention_state.h"
#include "kernels/cpu/x86.h"
#include "kernels/sample.h"
#include "kernels/views.h"

namespace penstock {
namespace avx2_kernels {
namespace {

#include "kernels/cpu/vec_avx2.h"

#include "kernels/cpu/bodies/all.inl"

}  // namespace
}  // namespace avx2_kernels

void overlay_avx2(KernelTable& table) { avx2_kernels::overlay(table); }

}  // namespace penstock
