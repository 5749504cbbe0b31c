// Products of 16-bit weights by a library that leaves plain sums in the workspace: who does them,
// the pieces they are cut into, and what follows the sum. Whether the library does them is decided
// by format and k, never by the rows of either side.
#pragma once

#include <algorithm>

#include "base/error.h"
#include "kernels/cublaslt/products.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/launch_shape.h"

namespace penstock::cuda {

// Sums of some weight rows and input rows.
struct DenseArgs {
  GemmParams params;  // without panels
  const float* sums = nullptr;
  int64_t stride = 0;
  int64_t row = 0, rows = 0;  // of the whole weight
  int64_t input = 0, inputs = 0;
};

struct FinishDenseKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const DenseArgs& args) const {
    const int64_t at = element_of(on);
    if (at >= args.rows * args.inputs) return;
    const int64_t input = at / args.rows, row = at % args.rows;
    const int64_t m = args.input + input;
    const float sum = args.sums[input * args.stride + row] * input_scale(args.params, m);
    finish_sum(args.params, args.row + row, m, sum);
  }
};

// Weights that are aligned as their elements only, to where they are aligned.
struct AlignArgs {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  int64_t count = 0;  // 16-bit elements
};

struct AlignKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const AlignArgs& args) const {
    const int64_t at = element_of(on);
    if (at < args.count) store(args.to + at * 2, load<uint16_t>(args.from + at * 2));
  }
};

// The workspace: three quarters for sums, the rest for weights that have to be aligned.
struct DenseRoom {
  static constexpr int64_t kColumns = 64, kMostInputs = 8192;
  int64_t sums = 0;  // floats
  int64_t weights_offset = 0, weight_bytes = 0;

  explicit DenseRoom(int64_t bytes)
      : sums(bytes / 1024 * 192),
        weights_offset(sums * static_cast<int64_t>(sizeof(float))),
        weight_bytes(bytes - weights_offset) {}
  // Of one piece; the rows of the weight are the columns of the sums.
  int64_t inputs(int64_t m) const { return std::min({m, kMostInputs, sums / kColumns}); }
  int64_t columns(int64_t inputs) const { return sums / inputs / kColumns * kColumns; }
};

// What the library multiplies, of inputs of 16 bits and weights of the same type.
inline cublaslt::DenseInput dense_input(const GemmParams& p) {
  const DType type = p.input.kind == InputKind::f16 ? DType::f16 : DType::bf16;
  return {p.k, p.input.stride_bytes, type};
}

// A product that the library does at once.
struct DensePiece {
  const std::byte* weights;
  int64_t row, rows;  // of the whole weight
  int64_t input, inputs;
  float* sums;  // of the workspace
};
template <class Launcher>
void multiply_dense(Launcher& launcher, const GemmParams& p, const DensePiece& piece) {
  const int64_t stride = blocks_of(piece.rows, DenseRoom::kColumns) * DenseRoom::kColumns;
  const cublaslt::DenseInput of = dense_input(p);
  const std::byte* x = p.x + piece.input * of.stride_bytes;
  launcher.dense()->multiply({piece.weights, piece.rows, x, piece.inputs, of, piece.sums, stride},
                             launcher.stream());
  launcher.template launch<FinishDenseKernel>(
      for_elements(piece.rows * piece.inputs),
      DenseArgs{p, piece.sums, stride, piece.row, piece.rows, piece.input, piece.inputs});
}

template <class Launcher>
class DenseRun {
 public:
  DenseRun(Launcher& launcher, const GemmParams& params, int64_t row_bytes)
      : launcher_(launcher),
        p_(params),
        row_bytes_(row_bytes),
        room_(static_cast<int64_t>(launcher.workspace_bytes())) {
    p_.panels = nullptr;
  }

  bool has_room() const { return row_bytes_ <= room_.weight_bytes && room_.sums > 0; }
  void multiply(const WeightPanel& rows) {
    const int64_t inputs = room_.inputs(p_.m);
    int64_t step = room_.columns(inputs);
    const bool askew = reinterpret_cast<uintptr_t>(rows.data) % cublaslt::kAlignment != 0;
    if (askew) step = std::min(step, room_.weight_bytes / row_bytes_);
    for (int64_t begin = rows.row_begin; begin < rows.row_end; begin += step) {
      WeightPanel part{rows.data + (begin - rows.row_begin) * row_bytes_, begin,
                       std::min(begin + step, rows.row_end)};
      if (askew) part.data = align(part);
      for (int64_t input = 0; input < p_.m; input += inputs) {
        auto* sums = static_cast<float*>(static_cast<void*>(launcher_.workspace()));
        multiply_dense(launcher_, p_,
                       {part.data, part.row_begin, part.row_end - part.row_begin, input,
                        std::min(inputs, p_.m - input), sums});
      }
    }
  }

 private:
  const std::byte* align(const WeightPanel& part) {
    const int64_t count = (part.row_end - part.row_begin) * row_bytes_ / 2;
    std::byte* to = launcher_.workspace() + room_.weights_offset;
    launcher_.template launch<AlignKernel>(for_elements(count), AlignArgs{part.data, to, count});
    return to;
  }

  Launcher& launcher_;
  GemmParams p_;
  int64_t row_bytes_;
  DenseRoom room_;
};

// Does the product where the launcher has a library that takes it; panels that follow each other in
// memory are one. A launcher without such a member has none.
template <class Launcher>
bool run_dense(Launcher& launcher, const GemmParams& p, const WeightView& view) {
  if constexpr (requires { launcher.dense(); }) {
    const InputKind same = view.raw == DType::f16 ? InputKind::f16 : InputKind::bf16;
    const bool half = !view.quantised && view.raw != DType::f32 && p.input.kind == same;
    if (launcher.dense() == nullptr || !half) return false;
    DenseRun<Launcher> run(launcher, p, view.row_bytes);
    if (!run.has_room() || !launcher.dense()->takes(dense_input(p))) return false;
    for (int i = 0; i < p.panel_count && p.m > 0;) {
      WeightPanel rows = p.panels[i++];
      const auto follows = [&](const WeightPanel& next) {
        return next.row_begin == rows.row_end &&
               next.data == rows.data + (rows.row_end - rows.row_begin) * view.row_bytes;
      };
      while (i < p.panel_count && follows(p.panels[i])) rows.row_end = p.panels[i++].row_end;
      run.multiply(rows);
    }
    return true;
  } else {
    return false;
  }
}

}  // namespace penstock::cuda
