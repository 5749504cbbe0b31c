// What the products share: weights, panels, epilogue. A block computes some weight rows of one
// panel by some input rows, kBlockRows by kBlockInputs where a kernel does not say otherwise.
#pragma once

#include "kernels/cuda/numeric.h"
#include "kernels/views.h"

namespace penstock::cuda {

inline constexpr int kBlockRows = 64, kBlockInputs = 64;
struct BlockSize {
  int rows = kBlockRows, inputs = kBlockInputs;
};

struct GemmArgs {
  GemmParams params;
  WeightView view;
  int64_t row_blocks;  // of all panels
};

// Blocks of so many weight rows in the panels of a host's table.
inline int64_t row_blocks_of(const GemmParams& p, int rows) {
  int64_t count = 0;
  for (int i = 0; i < p.panel_count; ++i) {
    count += blocks_of(p.panels[i].row_end - p.panels[i].row_begin, rows);
  }
  return count;
}

// The weight rows and input rows of one block of the launch.
struct GemmBlock {
  const WeightPanel* panel;
  int64_t row, rows;      // in the panel
  int64_t input, inputs;  // of the batch

  PENSTOCK_DEVICE GemmBlock(const GemmArgs& args, int64_t block, BlockSize size = {}) {
    int64_t index = block % args.row_blocks;
    panel = args.params.panels;
    for (;; ++panel) {
      const int64_t here = blocks_of(panel->row_end - panel->row_begin, size.rows);
      if (index < here) break;
      index -= here;
    }
    row = index * size.rows;
    rows = at_most<int64_t>(size.rows, panel->row_end - panel->row_begin - row);
    input = block / args.row_blocks * size.inputs;
    inputs = at_most<int64_t>(size.inputs, args.params.m - input);
  }
  // Tiles of tensor cores that hold input rows.
  PENSTOCK_DEVICE int64_t column_tiles() const { return blocks_of(inputs, 8); }
};

// Rows of packed weights (tensor/format.h).
struct PackedRow {
  const WeightView& view;
  const std::byte* tile;
  int64_t row;  // in the tile

  PENSTOCK_DEVICE PackedRow(const WeightView& of, const std::byte* panel, int64_t panel_row)
      : view(of), tile(panel + panel_row / kTileRows * of.tile_bytes), row(panel_row % kTileRows) {}
  PENSTOCK_DEVICE float scale(int64_t group) const {
    return float_from_bf16(load<uint16_t>(tile + (group * kTileRows + row) * 2));
  }
  PENSTOCK_DEVICE int32_t zero(int64_t group) const {
    if (!view.has_zeros) return 1 << (view.bits - 1);
    return std::to_integer<int32_t>(tile[view.zeros_offset + group * kTileRows + row]);
  }
  // Codes of 4 (8-bit) or 8 (4-bit) neighbours of k.
  PENSTOCK_DEVICE uint32_t word(int64_t index) const {
    return load_word(tile + view.codes_offset + (index * kTileRows + row) * 4);
  }
  PENSTOCK_DEVICE float value(int64_t k) const {
    const int64_t group = k / view.group;
    uint32_t code = 0;
    if (view.bits == 8) {
      code = word(k / 4) >> (k % 4 * 8) & 255u;
    } else {
      code = word(k / 8) >> (k % 4 * 8 + (k % 8 < 4 ? 0 : 4)) & 15u;
    }
    return scale(group) * static_cast<float>(static_cast<int32_t>(code) - zero(group));
  }
};

// What the sums of input row `m` of the batch are multiplied by: 1 of kinds without a scale a row.
PENSTOCK_DEVICE inline float input_scale(const GemmParams& p, int64_t m) {
  if (p.input.kind != InputKind::f16) return 1.0f;
  return load<float>(p.x + m * p.input.stride_bytes + p.input.scales_offset);
}

// Bias, activation, residual of the sum of row n of the whole weight and input row m.
PENSTOCK_DEVICE inline void finish_sum(const GemmParams& p, int64_t n, int64_t m, float sum) {
  if (p.bias != nullptr) sum += p.bias[n];
  sum = act_of(p.act, sum);
  if (p.residual != nullptr) sum += p.residual[m * p.residual_stride + n];
  p.y[m * p.y_stride + (n - p.column_origin)] = sum;
}

// The same of weight row `row` of the block's panel and input row `input` of the block.
PENSTOCK_DEVICE inline void finish(const GemmParams& p, const GemmBlock& block, int64_t row,
                                   int64_t input, float sum) {
  if (row >= block.rows || input >= block.inputs) return;
  finish_sum(p, block.panel->row_begin + block.row + row, block.input + input, sum);
}

}  // namespace penstock::cuda
