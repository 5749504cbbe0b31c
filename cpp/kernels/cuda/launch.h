// From params to launches: geometry, and tables of the host that kernels read. A Launcher gives
//   template <class Kernel, class Args> void launch(const LaunchShape&, const Args&)
//   template <class T> const T* upload(const T* table, int64_t count)
//                            where kernels of this op find a table of the host; null stays null
//   size_t table_bytes()     of tables at once; reuse_tables() makes room when the launches so far
//                            no longer need theirs
//   std::byte* workspace(), size_t workspace_bytes()
//                            device memory for what a launch leaves to the next one of the op
//   bool bf16_tiles()        whether multiply_bf16 is there
//   SharedRoom shared_room() of a multiprocessor
//   int multiprocessors()
// and may give
//   cublaslt::DenseProducts* dense()   who multiplies 16-bit weights, or null; on void* stream()
#pragma once

#include "kernels/cuda/launch_products.h"
#include "kernels/cuda/launch_shape.h"
#include "kernels/cuda/launch_spans.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/sample.h"

namespace penstock::cuda {

template <class Launcher>
void run(Launcher& launcher, const EmbedParams& p) {
  launcher.template launch<EmbedKernel>(for_elements(p.m * p.dim), p);
}

template <class Launcher>
void run(Launcher& launcher, const NormParams& p) {
  launcher.template launch<NormKernel>({p.m, kRowThreads, kRowShared}, p);
}

template <class Launcher>
void run(Launcher& launcher, const PrepareParams& p) {
  if (p.layout.kind == InputKind::int8) {
    return launcher.template launch<PrepareCodesKernel>(
        for_warps(p.m * p.layout.blocks, kRowThreads), p);
  }
  if (p.layout.kind == InputKind::f16) {
    return launcher.template launch<PrepareHalfKernel>({p.m, kRowThreads, kRowShared}, p);
  }
  launcher.template launch<PrepareRawKernel>(for_elements(p.m * p.layout.padded_k), p);
}

template <class Launcher>
void run(Launcher& launcher, const GatedParams& p) {
  launcher.template launch<GatedKernel>(for_elements(p.m * p.dim), p);
}

template <class Launcher>
void run(Launcher& launcher, RotaryParams p) {
  p.positions = launcher.upload(p.positions, p.m);
  launcher.template launch<RotaryKernel>(for_elements(p.m * p.heads * (p.rotary_dim / 2)), p);
}

template <class Launcher>
void run(Launcher& launcher, GatherRowsParams p) {
  p.rows = launcher.upload(p.rows, p.m);
  launcher.template launch<GatherKernel>(for_elements(p.m * p.dim), p);
}

template <class Launcher>
void run(Launcher& launcher, ScoreParams p) {
  p.targets = launcher.upload(p.targets, p.m);
  launcher.template launch<ScoreKernel>({p.m, ScoreKernel::kThreads, kRowShared}, p);
}

template <class Launcher>
void run(Launcher& launcher, SampleParams p) {
  p.rows = launcher.upload(p.rows, p.m);
  launcher.template launch<SampleKernel>({p.m, SampleKernel::kThreads, sizeof(SampleRoom)}, p);
}

}  // namespace penstock::cuda
