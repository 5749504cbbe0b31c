// Quantised weights by many bf16 input rows that need not have bits of their own
// (GemmParams::invariant): weights become bf16 in the workspace, a part at a time, and a library
// multiplies them. Weights are rounded to bf16 there, which our own kernel does not do, and sums
// are the library's, so the bits change at the knee.
#pragma once

#include "kernels/cuda/dequantise.h"
#include "kernels/cuda/gemm_dense.h"

namespace penstock::cuda {

// Input rows from which a library is expected to be faster than our own kernel on a large GPU.
// Reckoned, not measured: with 8192 k, 1344 weight rows fit the workspace beside the sums of 2048
// inputs, and their 88 tiles of 128 by 256 occupy two thirds of an H200; with 1024 inputs it is 52.
inline constexpr int kDequantiseKnee = 2048;

constexpr bool is_handed_over(bool invariant, int64_t m) {
  return !invariant && m >= kDequantiseKnee;
}

// The workspace: weight rows, then their sums with some inputs. As many rows as fit beside all
// inputs, but no fewer than one step of columns.
struct DequantisedRoom {
  int64_t inputs = 0;  // of one piece; 0: no room
  int64_t rows = 0;    // of the weight, whole steps of columns

  constexpr DequantisedRoom(int64_t bytes, int64_t m, int64_t k) {
    constexpr int64_t kColumns = DenseRoom::kColumns, kSum = sizeof(float);
    const int64_t row_bytes = k * 2;
    const int64_t most = (bytes / kColumns - row_bytes) / kSum;
    inputs = at_most(at_most(m, DenseRoom::kMostInputs), most);
    if (inputs <= 0) {
      inputs = 0;
      return;
    }
    rows = bytes / (row_bytes + inputs * kSum) / kColumns * kColumns;
  }
};

template <class Launcher>
void launch_dequantise(Launcher& launcher, const DequantiseArgs& args) {
  const LaunchShape shape = for_warps(dequantise_warps(args.rows, args.k), kDequantiseThreads);
  if (args.view.bits == 8) return launcher.template launch<DequantiseKernel<8>>(shape, args);
  launcher.template launch<DequantiseKernel<4>>(shape, args);
}

// Gathers the parts of panels that follow each other by their rows, whatever lies between them in
// memory, and multiplies when the workspace is full.
template <class Launcher>
class DequantisedRun {
 public:
  DequantisedRun(Launcher& launcher, const GemmParams& params, const WeightView& view)
      : launcher_(launcher),
        p_(params),
        view_(view),
        room_(static_cast<int64_t>(launcher.workspace_bytes()), params.m, params.k) {
    p_.panels = nullptr;
  }

  bool has_room() const { return room_.inputs > 0; }
  void take(const WeightPanel& panel) {
    for (int64_t row = panel.row_begin; row < panel.row_end;) {
      if (row != begin_ + rows_) begin_anew(row);
      int64_t count = at_most(panel.row_end - row, room_.rows - rows_);
      if (row + count < panel.row_end) count -= count % kTileRows;
      if (count == 0) {
        begin_anew(row);
        continue;
      }
      dequantise(panel, row, count);
      rows_ += count;
      row += count;
    }
  }
  void multiply() {
    const std::byte* weights = launcher_.workspace();
    std::byte* sums = launcher_.workspace() + room_.rows * p_.k * 2;
    for (int64_t input = 0; input < p_.m && rows_ > 0; input += room_.inputs) {
      multiply_dense(launcher_, p_,
                     {weights, begin_, rows_, input, at_most(room_.inputs, p_.m - input),
                      static_cast<float*>(static_cast<void*>(sums))});
    }
    rows_ = 0;
  }

 private:
  void begin_anew(int64_t row) {
    multiply();
    begin_ = row;
  }
  void dequantise(const WeightPanel& panel, int64_t row, int64_t count) {
    const int64_t in_panel = row - panel.row_begin;
    const DequantiseArgs args{view_, p_.k, panel.data + in_panel / kTileRows * view_.tile_bytes,
                              count, launcher_.workspace() + rows_ * p_.k * 2};
    launch_dequantise(launcher_, args);
  }

  Launcher& launcher_;
  GemmParams p_;
  WeightView view_;
  DequantisedRoom room_;
  int64_t begin_ = 0, rows_ = 0;  // of the whole weight, that are in the workspace
};

// Does the product where the launcher has a library that takes it.
template <class Launcher>
bool run_dequantised(Launcher& launcher, const GemmParams& p, const WeightView& view) {
  if constexpr (requires { launcher.dense(); }) {
    if (launcher.dense() == nullptr) return false;
    DequantisedRun<Launcher> run(launcher, p, view);
    if (!run.has_room() || !launcher.dense()->takes(dense_input(p))) return false;
    for (int i = 0; i < p.panel_count; ++i) run.take(p.panels[i]);
    run.multiply();
    return true;
  } else {
    return false;
  }
}

}  // namespace penstock::cuda
