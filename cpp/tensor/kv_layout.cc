#include "tensor/kv_layout.h"

#include <cstring>

#include "tensor/scale.h"

namespace penstock {
namespace {

// Scale and bias as stored, and as numbers.
struct KvParams {
  uint16_t stored[2] = {0, 0};
  float scale = 0.0f, bias = 0.0f;
};

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

KvParams params_of(const float* values, int count, bool real) {
  const KvRange range = range_of(values, count);
  KvParams params;
  if (!range.finite) {
    params.stored[0] = kNanBf16;
  } else if (real) {
    params.stored[1] = bf16_round_down(range.low);
    params.stored[0] = scale_for(range.high - float_from_bf16(params.stored[1]), 15.0f);
  } else {
    const float largest = range.high > -range.low ? range.high : -range.low;
    params.stored[0] = scale_for(largest, 127.0f);
  }
  params.scale = float_from_bf16(params.stored[0]);
  params.bias = float_from_bf16(params.stored[1]);
  return params;
}

// `params` with scale 0 (constant group) or NaN gives the code of zero value.
uint8_t code_of(float value, const KvParams& params, bool real) {
  const float step = params.scale > 0 ? params.scale : 1.0f;
  const float top = real ? 15.0f : 255.0f, offset = real ? 0.0f : 128.0f;
  const float steps = clamp_code((value - params.bias) / step, -512.0f, 512.0f);
  return static_cast<uint8_t>(static_cast<int>(clamp_code(round_even(steps) + offset, 0.0f, top)));
}

void store_group(const float* values, int count, const KvParams& params, bool real,
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

int64_t KvLayout::code_bytes() const {
  const QuantFormat& row = penstock::format(format);
  if (!row.quantised()) return int64_t{head_dim} * dtype_bytes(row.raw);
  return row.bits == 8 ? head_dim : (head_dim + 1) / 2;
}

void kv_store_scalar(const KvLayout& layout, std::byte* page, bool value, int head, int token,
                     const float* in) {
  const QuantFormat& format = penstock::format(layout.format);
  std::byte* codes = page + layout.codes_offset(value, head, token);
  if (!format.quantised()) {
    for (int i = 0; i < layout.head_dim; ++i) store_from_float(codes, format.raw, i, in[i]);
    return;
  }
  const bool real = format.offset == Offset::real;
  std::byte* params_at = page + layout.params_offset(value, head, token);
  for (int begin = 0, group = 0; begin < layout.head_dim; begin += kKvGroup, ++group) {
    const int count = layout.head_dim - begin < kKvGroup ? layout.head_dim - begin : kKvGroup;
    const KvParams params = params_of(in + begin, count, real);
    std::memcpy(params_at + group * 4, params.stored, 4);
    store_group(in + begin, count, params, real,
                reinterpret_cast<uint8_t*>(codes) + begin * format.bits / 8);
  }
}

void kv_load_scalar(const KvLayout& layout, const std::byte* page, bool value, int head, int token,
                    float* out) {
  const QuantFormat& format = penstock::format(layout.format);
  const std::byte* codes = page + layout.codes_offset(value, head, token);
  const std::byte* params = page + layout.params_offset(value, head, token);
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
