// Layout of one KV page: `page_tokens` tokens of one sequence and one layer, K then V. Inside each
// half, per kv head, codes and then, of quantised formats only, params (bf16 scale and bias; the
// bias is 0 and unused for int8). Of a token, both are words of 4 bytes:
//   codes   code_bytes / 4 words            raw: head_dim elements; int8: head_dim bytes; int4:
//                                           nibbles, even index in the low one; zeros at the end
//   params  groups words                    scale in the low half
// Codes of keys and params lie in blocks of kKeyBlock tokens, words of the same place side by side:
// [blocks][words][kKeyBlock], so that one load gives the same part of as many keys as a vector has
// lanes. Codes of values lie in blocks of value_block() tokens, parts of the same place side by
// side in a word: [blocks][parts][value_block()] with parts of 4 / value_block() bytes, so that a
// word holds what a dot product takes of as many tokens. int8: value = s * (q - 128); int4: value =
// bias + s * q. Groups of 64 along head_dim.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/format.h"
#include "tensor/scale.h"

namespace penstock {

inline constexpr int kKvGroup = 64;
inline constexpr int kKeyBlock = 16;
inline constexpr int kMostHeadDim = 4096;  // what kernels have room for

// Where one token and head is in a page, in bytes: part i of its codes, part_bytes long, at codes +
// i * stride; word w of its params at params + w * 4 * kKeyBlock.
struct KvPlace {
  int64_t codes = 0, part_bytes = 4, stride = 4;
  int64_t params = 0;
};

struct KvLayout {
  FormatId format = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int page_tokens = 32;  // a multiple of kKeyBlock that divides 256

  int64_t groups() const {
    return penstock::format(format).quantised() ? (head_dim + kKvGroup - 1) / kKvGroup : 0;
  }
  int64_t code_bytes() const;                           // one token, one head, K or V
  int64_t param_bytes() const { return groups() * 4; }  // one token, one head, K or V
  int64_t head_bytes() const { return page_tokens * (code_bytes() + param_bytes()); }
  int64_t half_bytes() const { return kv_heads * head_bytes(); }
  int64_t page_bytes() const { return 2 * half_bytes(); }
  int value_block() const;  // tokens
  // `value`: false for K, true for V.
  KvPlace place(bool value, int head, int token) const;
};

// Scale and bias of one group of a quantised format, chosen from the smallest and largest value. A
// group that is not finite gets the scale NaN.
struct KvGroupParams {
  uint16_t stored[2] = {0, 0};  // bf16 scale, bias
  float step = 1.0f;            // the scale, or 1 where it is 0 or NaN: what values are divided by
  float bias = 0.0f;
};
constexpr KvGroupParams kv_group_params(bool real_bias, float low, float high, bool finite) {
  KvGroupParams params;
  if (!finite) {
    params.stored[0] = kNanBf16;
    return params;
  }
  if (real_bias) {
    params.stored[1] = bf16_round_down(low);
    params.bias = float_from_bf16(params.stored[1]);
    params.stored[0] = scale_for(high - params.bias, 15.0f);
  } else {
    params.stored[0] = scale_for(high > -low ? high : -low, 127.0f);
  }
  if (params.stored[0] != 0) params.step = float_from_bf16(params.stored[0]);
  return params;
}
// The code of a value of the group.
constexpr uint8_t kv_code(float value, const KvGroupParams& params, bool real) {
  const float top = real ? 15.0f : 255.0f, offset = real ? 0.0f : 128.0f;
  const float steps = clamp_code((value - params.bias) / params.step, -512.0f, 512.0f);
  return static_cast<uint8_t>(static_cast<int>(clamp_code(round_even(steps) + offset, 0.0f, top)));
}

// One vector of a page. `value`: false for K, true for V.
struct KvSlot {
  bool value = false;
  int head = 0;
  int token = 0;
};

// Scalar reference: stores head_dim values of one (token, head), and reads them back.
void kv_store_scalar(const KvLayout& layout, std::byte* page, KvSlot slot, const float* in);
void kv_load_scalar(const KvLayout& layout, const std::byte* page, KvSlot slot, float* out);

}  // namespace penstock
