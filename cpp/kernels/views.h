// Plain copies of descriptions (KV layout, weight format) and the few scalar rules the kernels
// share. The functions are compiled for the baseline processor: files with wide instruction sets
// call them and inline nothing of other folders.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/params.h"

namespace penstock {

// Offsets are bytes inside a page.
struct KvView {
  bool quantised = false;
  DType raw = DType::f32;
  int bits = 0;
  int head_dim = 0, kv_heads = 0, page_tokens = 0;
  int value_block = 0;                      // tokens
  int64_t code_bytes = 0, param_bytes = 0;  // one token, one head, K or V
  int64_t head_bytes = 0, half_bytes = 0;
};
KvView kv_view(const KvLayout& layout);

struct WeightView {
  bool quantised = false;
  bool has_zeros = false;
  DType raw = DType::f32;
  int bits = 0;
  int64_t row_bytes = 0;  // raw
  int64_t group = 0, zeros_offset = 0, codes_offset = 0, tile_bytes = 0;
};
WeightView weight_view(FormatId format, int64_t k);

}  // namespace penstock
