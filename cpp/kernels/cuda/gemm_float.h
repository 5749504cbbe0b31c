// Any weights by fp32 inputs (or bf16 ones, widened), in fp32: one chain of multiply-adds over
// ascending k for every sum.
#pragma once

#include "kernels/cuda/gemm.h"

namespace penstock::cuda {

struct GemmFloatKernel {
  static constexpr int kThreads = 256, kStep = 16, kEach = 4;
  static constexpr int kStride = kBlockRows + 1;
  static constexpr size_t kShared = 2 * kStep * kStride * sizeof(float);
  static_assert(kBlockRows == kBlockInputs &&
                kThreads * kEach * kEach == kBlockRows * kBlockInputs);

  // Sums of rows lane + 16 j and inputs 4 group + i, lane and group of the thread.
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const GemmArgs& args) const {
    const GemmBlock block(args, on.block());
    auto* weights = static_cast<float*>(static_cast<void*>(on.shared()));
    const float* inputs = weights + kStep * kStride;
    const int lane = on.thread() % 16, group = on.thread() / 16;
    float sums[kEach][kEach] = {};
    for (int64_t first = 0; first < args.params.k; first += kStep) {
      fill(on, args, block, first, weights);
      on.sync();
      for (int k = 0; k < kStep; ++k) {
        PENSTOCK_UNROLL
        for (int i = 0; i < kEach; ++i) {
          PENSTOCK_UNROLL
          for (int j = 0; j < kEach; ++j) {
            sums[i][j] = fmaf(inputs[k * kStride + group * kEach + i],
                              weights[k * kStride + lane + 16 * j], sums[i][j]);
          }
        }
      }
      on.sync();
    }
    for (int i = 0; i < kEach; ++i) {
      for (int j = 0; j < kEach; ++j) {
        finish(args.params, block, lane + 16 * j, group * kEach + i, sums[i][j]);
      }
    }
  }

 private:
  // Columns k of a step, zeros where there is nothing.
  template <class Thread>
  PENSTOCK_DEVICE static void fill(const Thread& on, const GemmArgs& args, const GemmBlock& block,
                                   int64_t first, float* weights) {
    float* inputs = weights + kStep * kStride;
    for (int at = on.thread(); at < kStep * kBlockRows; at += on.threads()) {
      const int64_t row = at / kStep, k = at % kStep, whole = first + k;
      const bool inside = whole < args.params.k;
      weights[k * kStride + row] =
          inside && row < block.rows ? weight(args, block, row, whole) : 0.0f;
      inputs[k * kStride + row] =
          inside && row < block.inputs ? input(args.params, block.input + row, whole) : 0.0f;
    }
  }
  PENSTOCK_DEVICE static float weight(const GemmArgs& args, const GemmBlock& block, int64_t row,
                                      int64_t k) {
    const WeightView& view = args.view;
    if (view.quantised) return PackedRow(view, block.panel->data, block.row + row).value(k);
    return raw_at(block.panel->data + (block.row + row) * view.row_bytes, view.raw, k);
  }
  PENSTOCK_DEVICE static float input(const GemmParams& p, int64_t row, int64_t k) {
    const DType dtype = p.input.kind == InputKind::f32 ? DType::f32 : DType::bf16;
    return raw_at(p.x + row * p.input.stride_bytes, dtype, k);
  }
};

}  // namespace penstock::cuda
