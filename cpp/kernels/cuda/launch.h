// From params to launches: geometry, and tables of the host that kernels read. A Launcher gives
//   template <class Kernel, class Args> void launch(const LaunchShape&, const Args&)
//   template <class T> const T* upload(const T* table, int64_t count)
//                            where kernels of this op find a table of the host; null stays null
//   size_t table_bytes()     of tables at once; reuse_tables() makes room when the launches so far
//                            no longer need theirs
//   std::byte* workspace(), size_t workspace_bytes()
//                            device memory for what a launch leaves to the next one of the op
//   bool bf16_tiles()        whether multiply_bf16 is there
// and may give
//   cublaslt::DenseProducts* dense()   who multiplies bf16 weights, or null; on void* stream()
#pragma once

#include "kernels/cuda/gemm_dense.h"
#include "kernels/cuda/gemm_float.h"
#include "kernels/cuda/gemm_tensor.h"
#include "kernels/cuda/gemm_weight_only.h"
#include "kernels/cuda/launch_shape.h"
#include "kernels/cuda/launch_spans.h"
#include "kernels/cuda/rows.h"

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

template <int kBits, class Launcher>
void launch_weight_only(Launcher& launcher, const WeightOnlyPlan& plan,
                        const WeightOnlyArgs& args) {
  const auto launch = [&]<class Kernel>(Kernel) {
    launcher.template launch<Kernel>({plan.blocks(), kWeightOnlyThreads, Kernel::kShared}, args);
  };
  switch (plan.tiles) {
    case 1:
      return launch(GemmWeightOnlyKernel<kBits, 1>{});
    case 2:
      return launch(GemmWeightOnlyKernel<kBits, 2>{});
    case 4:
      return launch(GemmWeightOnlyKernel<kBits, 4>{});
    default:
      return launch(GemmWeightOnlyKernel<kBits, kMostTiles>{});
  }
}

// Quantised weights by bf16 inputs.
template <class Launcher>
void run_weight_only(Launcher& launcher, GemmParams p, const WeightView& view) {
  const int64_t row_blocks = row_blocks_of(p, kWeightOnlyRows);
  const WeightOnlyPlan plan =
      weight_only_plan({p.m, p.k, row_blocks}, static_cast<int64_t>(launcher.workspace_bytes()));
  p.panels = launcher.upload(p.panels, p.panel_count);
  WeightOnlyArgs args{{p, view, row_blocks}, plan.stripes, plan.split, group_shift(view), nullptr};
  if (plan.split) args.partial = launcher.workspace();
  if (view.bits == 8) {
    launch_weight_only<8>(launcher, plan, args);
  } else {
    launch_weight_only<4>(launcher, plan, args);
  }
  if (!plan.split) return;
  launcher.template launch<AddStripesKernel>({row_blocks * p.m, kWeightOnlyRows, 0}, args);
}

template <class Launcher>
void run(Launcher& launcher, GemmParams p) {
  const WeightView view = weight_view(p.format, p.k);
  if (p.input.kind == InputKind::bf16 && view.quantised && launcher.bf16_tiles()) {
    return run_weight_only(launcher, p, view);
  }
  if (run_dense(launcher, p, view)) return;
  const int64_t row_blocks = row_blocks_of(p, kBlockRows);
  p.panels = launcher.upload(p.panels, p.panel_count);
  const GemmArgs args{p, view, row_blocks};
  const int64_t blocks = row_blocks * blocks_of(p.m, kBlockInputs);
  const auto tensor = [&](size_t shared) { return LaunchShape{blocks, kTensorThreads, shared}; };
  if (p.input.kind == InputKind::int8 && view.bits == 8) {
    using Kernel = GemmCodesKernel<8>;
    return launcher.template launch<Kernel>(tensor(Kernel::kShared), args);
  }
  if (p.input.kind == InputKind::int8) {
    using Kernel = GemmCodesKernel<4>;
    return launcher.template launch<Kernel>(tensor(Kernel::kShared), args);
  }
  if (p.input.kind == InputKind::bf16 && launcher.bf16_tiles()) {
    return launcher.template launch<GemmBf16Kernel>(tensor(GemmBf16Kernel::kShared), args);
  }
  launcher.template launch<GemmFloatKernel>(
      {blocks, GemmFloatKernel::kThreads, GemmFloatKernel::kShared}, args);
}

}  // namespace penstock::cuda
