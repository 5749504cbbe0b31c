#include "base/error.h"
#include "kernels/params.h"

namespace penstock {
namespace {

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

int64_t input_bytes(InputKind kind) {
  return kind == InputKind::f32 ? 4 : (kind == InputKind::int8 ? 1 : 2);
}

}  // namespace

PreparedLayout prepared_layout(InputKind kind, int64_t k, int64_t block) {
  check(k > 0, "a prepared input needs at least one column");
  PreparedLayout layout;
  layout.kind = kind;
  layout.k = k;
  layout.padded_k = round_up(k, kTileK);
  layout.row_bytes = round_up(layout.padded_k * input_bytes(kind), 64);
  layout.stride_bytes = layout.row_bytes;
  if (kind == InputKind::int8) {
    check(block == 32 || block == 64 || block == 128,
          "activation blocks hold 32, 64 or 128 values");
    layout.block = block;
    layout.blocks = (k + block - 1) / block;
    layout.scales_offset = layout.row_bytes;
    layout.stride_bytes = round_up(layout.row_bytes + layout.blocks * 8, 64);
  }
  if (kind == InputKind::f16) {
    layout.scales_offset = layout.row_bytes;
    layout.stride_bytes = layout.row_bytes + 64;
  }
  // An odd number of cache lines: rows that are read side by side do not meet in one cache set.
  if (layout.stride_bytes / 64 % 2 == 0) layout.stride_bytes += 64;
  return layout;
}

PreparedLayout prepared_layout_for(const QuantFormat& format, int64_t k, Compute compute,
                                   const RawInputs& raw) {
  if (compute == Compute::exact) return prepared_layout(InputKind::f32, k, 0);
  if (format.quantised() && compute == Compute::fast) {
    return prepared_layout(InputKind::int8, k, activation_block(format));
  }
  if (format.quantised()) return prepared_layout(InputKind::bf16, k, 0);
  if (format.raw == DType::f32) return prepared_layout(InputKind::f32, k, 0);
  return prepared_layout(format.raw == DType::bf16 ? raw.bf16 : raw.f16, k, 0);
}

}  // namespace penstock
