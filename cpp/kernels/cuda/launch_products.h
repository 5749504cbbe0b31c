// Launches of products: which kernel takes weights of a format with inputs of a kind, and how it is
// cut. A Launcher is what launch.h says.
#pragma once

#include "base/error.h"
#include "kernels/cuda/gemm_codes.h"
#include "kernels/cuda/gemm_codes_sliced.h"
#include "kernels/cuda/gemm_dequantised.h"
#include "kernels/cuda/gemm_float.h"
#include "kernels/cuda/gemm_half.h"
#include "kernels/cuda/gemm_weight_only.h"

namespace penstock::cuda {

template <class Launcher>
void add_stripes(Launcher& launcher, const StripedPlan& plan, const StripedArgs& args) {
  if (!plan.split) return;
  launcher.template launch<AddStripesKernel>({plan.row_blocks * plan.m, kStripedRows, 0}, args);
}

template <int kBits, class Launcher>
void launch_weight_only(Launcher& launcher, const StripedPlan& plan, const WeightOnlyArgs& args) {
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
  const int64_t row_blocks = row_blocks_of(p, kStripedRows);
  const StripedPlan plan =
      weight_only_plan({p.m, p.k, row_blocks}, static_cast<int64_t>(launcher.workspace_bytes()));
  p.panels = launcher.upload(p.panels, p.panel_count);
  WeightOnlyArgs args{{{p, view, row_blocks}, plan.stripes, plan.split, nullptr},
                      group_shift(view)};
  if (plan.split) args.partial = launcher.workspace();
  if (view.bits == 8) {
    launch_weight_only<8>(launcher, plan, args);
  } else {
    launch_weight_only<4>(launcher, plan, args);
  }
  add_stripes(launcher, plan, args);
}

template <DType kWeights, DType kInputs, class Launcher>
void launch_half(Launcher& launcher, const StripedPlan& plan, HalfArgs args) {
  const auto launch = [&]<class Kernel>(Kernel) {
    args.stages = launcher.bf16_tiles() ? Kernel::kStages : 2;
    const auto shared = static_cast<size_t>(args.stages) * Kernel::kStage;
    launcher.template launch<Kernel>({plan.blocks(), Kernel::kThreads, shared}, args);
  };
  switch (plan.tiles) {
    case 1:
      return launch(GemmHalfKernel<kWeights, kInputs, 8>{});
    case 4:
      return launch(GemmHalfKernel<kWeights, kInputs, 32>{});
    case 8:
      return launch(GemmHalfKernel<kWeights, kInputs, 64>{});
    default:
      return launch(GemmHalfKernel<kWeights, kInputs, 128>{});
  }
}

// Weights of 16 bits by inputs of 16 bits.
template <class Launcher>
void run_half(Launcher& launcher, GemmParams p, const WeightView& view) {
  check(!view.quantised && view.raw != DType::f32, "fp16 inputs are of weights of 16 bits");
  const int64_t row_blocks = row_blocks_of(p, kStripedRows);
  const StripedPlan plan =
      half_plan({p.m, p.k, row_blocks}, static_cast<int64_t>(launcher.workspace_bytes()));
  p.panels = launcher.upload(p.panels, p.panel_count);
  HalfArgs args{{{p, view, row_blocks}, plan.stripes, plan.split, nullptr}, 0};
  if (plan.split) args.partial = launcher.workspace();
  if (p.input.kind == InputKind::bf16) {
    launch_half<DType::bf16, DType::bf16>(launcher, plan, args);
  } else if (view.raw == DType::bf16) {
    launch_half<DType::bf16, DType::f16>(launcher, plan, args);
  } else {
    launch_half<DType::f16, DType::f16>(launcher, plan, args);
  }
  add_stripes(launcher, plan, args);
}

template <int kBits, class Launcher>
void launch_codes(Launcher& launcher, const CodesPlan& plan, const CodesArgs& args) {
  const GemmParams& p = args.gemm.params;
  const int64_t addends = all_addend_bytes(plan, {p.m, p.k, p.input.block, kBits});
  const auto shared = static_cast<size_t>(plan.stages * plan.stage_bytes(kBits) + addends);
  const auto launch = [&]<class Kernel>(Kernel) {
    launcher.template launch<Kernel>({plan.blocks(), plan.threads(), shared}, args);
  };
  if (plan.slices > 1) return launch(GemmCodesSlicedKernel<kBits>{});
  if (plan.wide) return launch(GemmCodesKernel<kBits, 2, 8>{});
  switch (plan.tiles) {
    case 1:
      return launch(GemmCodesKernel<kBits, 1, 1>{});
    case 2:
      return launch(GemmCodesKernel<kBits, 1, 2>{});
    case 4:
      return launch(GemmCodesKernel<kBits, 1, 4>{});
    default:
      return launch(GemmCodesKernel<kBits, 1, 8>{});
  }
}

// Quantised weights by int8 inputs, cut as planned.
template <class Launcher>
void run_codes(Launcher& launcher, GemmParams p, const WeightView& view, CodesPlan plan) {
  plan.row_blocks = row_blocks_of(p, plan.rows);
  plan.input_blocks = blocks_of(p.m, plan.inputs());
  p.panels = launcher.upload(p.panels, p.panel_count);
  const CodesArgs args{{p, view, plan.row_blocks},
                       plan.input_blocks,
                       plan.stages,
                       block_group_shift(p.input.block, view.group)};
  if (view.bits == 8) return launch_codes<8>(launcher, plan, args);
  launch_codes<4>(launcher, plan, args);
}

template <class Launcher>
void run(Launcher& launcher, GemmParams p) {
  const WeightView view = weight_view(p.format, p.k);
  if (p.input.kind == InputKind::bf16 && view.quantised && launcher.bf16_tiles()) {
    if (is_handed_over(p.invariant, p.m) && run_dequantised(launcher, p, view)) return;
    return run_weight_only(launcher, p, view);
  }
  if (p.input.kind == InputKind::int8) {
    const auto row_blocks = [&](int rows) { return row_blocks_of(p, rows); };
    const CodesGpu gpu{launcher.shared_room(), launcher.multiprocessors()};
    const CodesPlan plan = codes_plan({p.m, p.k, p.input.block, view.bits}, gpu, row_blocks);
    return run_codes(launcher, p, view, plan);
  }
  if (run_dense(launcher, p, view)) return;
  const bool bf16 = p.input.kind == InputKind::bf16 && view.raw == DType::bf16;
  if (p.input.kind == InputKind::f16 || (bf16 && launcher.bf16_tiles())) {
    return run_half(launcher, p, view);
  }
  const int64_t row_blocks = row_blocks_of(p, kBlockRows);
  p.panels = launcher.upload(p.panels, p.panel_count);
  const GemmArgs args{p, view, row_blocks};
  const int64_t blocks = row_blocks * blocks_of(p.m, kBlockInputs);
  launcher.template launch<GemmFloatKernel>(
      {blocks, GemmFloatKernel::kThreads, GemmFloatKernel::kShared}, args);
}

}  // namespace penstock::cuda
