// Kernels for every processor.
#include "kernels/attention_state.h"
#include "kernels/cpu/isa.h"
#include "kernels/sample.h"
#include "kernels/views.h"

namespace penstock {
namespace portable_kernels {
namespace {

#include "kernels/cpu/vec_portable.h"

#include "kernels/cpu/bodies/all.inl"

}  // namespace
}  // namespace portable_kernels

void overlay_portable(KernelTable& table) { portable_kernels::overlay(table); }

}  // namespace penstock
