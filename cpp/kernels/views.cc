#include "kernels/views.h"

namespace penstock {

KvView kv_view(const KvLayout& layout) {
  const QuantFormat& row = format(layout.format);
  return {.quantised = row.quantised(),
          .raw = row.raw,
          .bits = row.bits,
          .head_dim = layout.head_dim,
          .kv_heads = layout.kv_heads,
          .page_tokens = layout.page_tokens,
          .value_block = layout.value_block(),
          .code_bytes = layout.code_bytes(),
          .param_bytes = layout.param_bytes(),
          .head_bytes = layout.head_bytes(),
          .half_bytes = layout.half_bytes()};
}

WeightView weight_view(FormatId id, int64_t k) {
  const QuantFormat& row = format(id);
  WeightView view;
  view.quantised = row.quantised();
  view.raw = row.raw;
  view.bits = row.bits;
  if (!view.quantised) {
    view.row_bytes = k * dtype_bytes(row.raw);
    return view;
  }
  const PackedLayout layout = packed_layout(row, k);
  view.has_zeros = row.offset == Offset::integer;
  view.group = layout.group;
  view.zeros_offset = layout.zeros_offset;
  view.codes_offset = layout.codes_offset;
  view.tile_bytes = layout.tile_bytes;
  return view;
}

}  // namespace penstock
