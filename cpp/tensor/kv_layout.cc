#include "tensor/kv_layout.h"

#include <cmath>
#include <cstring>
#include <vector>

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

void store_group(const float* values, int count, const KvGroupParams& params, bool real,
                 uint8_t* codes) {
  for (int i = 0; i < count; ++i) {
    const uint8_t code = kv_code(values[i], params, real);
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
  const int bits = row.quantised() ? row.bits : 8 * static_cast<int>(dtype_bytes(row.raw));
  return (int64_t{head_dim} * bits + 31) / 32 * 4;
}

KvPlace KvLayout::place(bool value, int head, int token) const {
  const int64_t base = (value ? half_bytes() : 0) + head * head_bytes();
  const int64_t in_block = token % kKeyBlock, in_word = token % value_block();
  const int64_t params =
      base + page_tokens * code_bytes() + (token - in_block) * param_bytes() + in_block * 4;
  if (!value) {
    return {base + (token - in_block) * code_bytes() + in_block * 4, 4, 4 * kKeyBlock, params};
  }
  const int64_t part_bytes = 4 / value_block();
  return {base + (token - in_word) * code_bytes() + in_word * part_bytes, part_bytes, 4, params};
}

int KvLayout::value_block() const {
  const QuantFormat& row = penstock::format(format);
  if (row.quantised()) return 4;
  return row.raw == DType::bf16 ? 2 : 1;
}

namespace {

// The words of a token, one after the other.
struct TokenWords {
  explicit TokenWords(const KvLayout& layout)
      : codes(static_cast<size_t>(layout.code_bytes())),
        params(static_cast<size_t>(layout.param_bytes())) {}
  std::vector<std::byte> codes, params;
};

// Parts of equal size that are `stride` bytes from each other in a page.
struct Parts {
  int64_t bytes, stride;
};
constexpr Parts kParams{4, 4 * kKeyBlock};

void scatter(const std::vector<std::byte>& words, const Parts& parts, std::byte* to) {
  const auto size = static_cast<size_t>(parts.bytes);
  for (size_t at = 0; at < words.size(); at += size, to += parts.stride) {
    std::memcpy(to, words.data() + at, size);
  }
}

void gather(const std::byte* from, const Parts& parts, std::vector<std::byte>& words) {
  const auto size = static_cast<size_t>(parts.bytes);
  for (size_t at = 0; at < words.size(); at += size, from += parts.stride) {
    std::memcpy(words.data() + at, from, size);
  }
}

}  // namespace

void kv_store_scalar(const KvLayout& layout, std::byte* page, KvSlot slot, const float* in) {
  const QuantFormat& format = penstock::format(layout.format);
  const KvPlace place = layout.place(slot.value, slot.head, slot.token);
  TokenWords words(layout);
  const bool real = format.offset == Offset::real;
  for (int i = 0; !format.quantised() && i < layout.head_dim; ++i) {
    store_from_float(words.codes.data(), format.raw, i, in[i]);
  }
  for (int64_t group = 0; group < layout.groups(); ++group) {
    const int begin = static_cast<int>(group) * kKvGroup;
    const int count = layout.head_dim - begin < kKvGroup ? layout.head_dim - begin : kKvGroup;
    const KvRange range = range_of(in + begin, count);
    const KvGroupParams params = kv_group_params(real, range.low, range.high, range.finite);
    std::memcpy(words.params.data() + group * 4, params.stored, 4);
    store_group(in + begin, count, params, real,
                reinterpret_cast<uint8_t*>(words.codes.data()) + begin * format.bits / 8);
  }
  scatter(words.codes, {place.part_bytes, place.stride}, page + place.codes);
  scatter(words.params, kParams, page + place.params);
}

void kv_load_scalar(const KvLayout& layout, const std::byte* page, KvSlot slot, float* out) {
  const QuantFormat& format = penstock::format(layout.format);
  const KvPlace place = layout.place(slot.value, slot.head, slot.token);
  TokenWords words(layout);
  gather(page + place.codes, {place.part_bytes, place.stride}, words.codes);
  gather(page + place.params, kParams, words.params);
  const std::byte *codes = words.codes.data(), *params = words.params.data();
  for (int i = 0; i < layout.head_dim; ++i) {
    if (!format.quantised()) {
      out[i] = load_as_float(codes, format.raw, i);
      continue;
    }
    const float scale = load_as_float(params, DType::bf16, i / kKvGroup * 2);
    const float bias = load_as_float(params, DType::bf16, i / kKvGroup * 2 + 1);
    if (format.offset == Offset::real) {
      const int pair = std::to_integer<int>(codes[i / 2]);
      out[i] = std::fma(scale, static_cast<float>(i % 2 == 0 ? pair & 15 : pair >> 4), bias);
    } else {
      out[i] = scale * static_cast<float>(std::to_integer<int>(codes[i]) - 128);
    }
  }
}

}  // namespace penstock
