#include "tensor/kv_layout.h"

#include <cstring>

#include "tensor/scale.h"

namespace penstock {
namespace {

struct KvRange {
  float low = __builtin_inff(), high = -__builtin_inff();
  bool finite = true;
};

KvRange range_of(const float* values, int count) {
  KvRange range;
  for (int i = 0; i < count; ++i) {
    range.low = values[i] < range.low ? values[i] : range.low;
    range.high = values[i] > range.high ? values[i] : range.high;
    range.finite &= (std::bit_cast<uint32_t>(values[i]) & 0x7fffffffu) < 0x7f800000u;
  }
  return range;
}

uint8_t code_of(float value, const KvGroupParams& params, bool real) {
  const float top = real ? 15.0f : 255.0f, offset = real ? 0.0f : 128.0f;
  const float steps = clamp_code((value - params.bias) / params.step, -512.0f, 512.0f);
  return static_cast<uint8_t>(static_cast<int>(clamp_code(round_even(steps) + offset, 0.0f, top)));
}

void store_group(const float* values, int count, const KvGroupParams& params, bool real,
                 uint8_t* codes) {
  for (int i = 0; i < count; ++i) {
    const uint8_t code = code_of(values[i], params, real);
    if (!real) {
      codes[i] = code;
    } else if (i % 2 == 0) {
      codes[i / 2] = code;
    } else {
      codes[i / 2] = static_cast<uint8_t>(codes[i / 2] | (code << 4));
    }
  }
}

}  // namespace

KvGroupParams kv_group_params(bool real_bias, float low, float high, bool finite) {
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

int64_t KvLayout::code_bytes() const {
  const QuantFormat& row = penstock::format(format);
  if (!row.quantised()) return int64_t{head_dim} * dtype_bytes(row.raw);
  return row.bits == 8 ? head_dim : (head_dim + 1) / 2;
}

void kv_store_scalar(const KvLayout& layout, std::byte* page, KvSlot slot, const float* in) {
  const QuantFormat& format = penstock::format(layout.format);
  std::byte* codes = page + layout.codes_offset(slot.value, slot.head, slot.token);
  if (!format.quantised()) {
    for (int i = 0; i < layout.head_dim; ++i) store_from_float(codes, format.raw, i, in[i]);
    return;
  }
  const bool real = format.offset == Offset::real;
  std::byte* params_at = page + layout.params_offset(slot.value, slot.head, slot.token);
  for (int begin = 0, group = 0; begin < layout.head_dim; begin += kKvGroup, ++group) {
    const int count = layout.head_dim - begin < kKvGroup ? layout.head_dim - begin : kKvGroup;
    const KvRange range = range_of(in + begin, count);
    const KvGroupParams params = kv_group_params(real, range.low, range.high, range.finite);
    std::memcpy(params_at + group * 4, params.stored, 4);
    store_group(in + begin, count, params, real,
                reinterpret_cast<uint8_t*>(codes) + begin * format.bits / 8);
  }
}

void kv_load_scalar(const KvLayout& layout, const std::byte* page, KvSlot slot, float* out) {
  const QuantFormat& format = penstock::format(layout.format);
  const std::byte* codes = page + layout.codes_offset(slot.value, slot.head, slot.token);
  const std::byte* params = page + layout.params_offset(slot.value, slot.head, slot.token);
  for (int i = 0; i < layout.head_dim; ++i) {
    if (!format.quantised()) {
      out[i] = load_as_float(codes, format.raw, i);
      continue;
    }
    const float scale = load_as_float(params, DType::bf16, i / kKvGroup * 2);
    const float bias = load_as_float(params, DType::bf16, i / kKvGroup * 2 + 1);
    if (format.offset == Offset::real) {
      const int pair = std::to_integer<int>(codes[i / 2]);
      out[i] = bias + scale * static_cast<float>(i % 2 == 0 ? pair & 15 : pair >> 4);
    } else {
      out[i] = scale * static_cast<float>(std::to_integer<int>(codes[i]) - 128);
    }
  }
}

}  // namespace penstock
