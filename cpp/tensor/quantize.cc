#include "tensor/quantize.h"

#include <cstring>

#include "base/error.h"
#include "tensor/scale.h"

namespace penstock {
namespace {

constexpr int kChunk = kTileK;  // codes made at a time

struct Range {
  float low = 0.0f, high = 0.0f;  // always holds 0
  bool finite = true;
};

// What one group of one row needs to be coded.
struct GroupCode {
  uint16_t scale = 0;
  float top = 0.0f;   // largest code
  float step = 1.0f;  // divisor; 1 for groups of zeros and for groups without finite range
  float zero = 0.0f;
  bool usable = true;
};

Range range_of(const float* values, int64_t count) {
  Range range;
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float value = values[i];
    const uint32_t magnitude = std::bit_cast<uint32_t>(value) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
    range.low = value < range.low ? value : range.low;
    range.high = value > range.high ? value : range.high;
  }
  range.finite = largest < 0x7f800000u;
  return range;
}

GroupCode code_of(const QuantFormat& format, const Range& range) {
  const bool midpoint = format.offset == Offset::midpoint;
  const float top = static_cast<float>((1 << format.bits) - 1);
  GroupCode code;
  code.top = top;
  code.zero = midpoint ? static_cast<float>(1 << (format.bits - 1)) : 0.0f;
  if (!range.finite) {
    code.scale = kNanBf16;
    code.usable = false;
    return code;
  }
  const float largest = range.high > -range.low ? range.high : -range.low;
  code.scale =
      midpoint ? scale_for(largest, top - code.zero) : scale_for(range.high - range.low, top);
  if (code.scale == 0) return code;
  code.step = float_from_bf16(code.scale);
  if (!midpoint) code.zero = clamp_code(round_even(-range.low / code.step), 0.0f, top);
  return code;
}

// codes[i] of `count` values of one group, then codes of zero value up to `padded`.
void make_codes(const float* values, int64_t count, int64_t padded, const GroupCode& code,
                uint8_t* codes) {
  const uint8_t zero = static_cast<uint8_t>(code.zero);
  const float step = code.step, offset = code.zero, top = code.top;
  for (int64_t i = 0; i < count; ++i) {
    const float value = code.usable ? values[i] : 0.0f;
    codes[i] = static_cast<uint8_t>(static_cast<int>(
        clamp_code(round_even(clamp_code(value / step, -512.0f, 512.0f)) + offset, 0.0f, top)));
  }
  std::memset(codes + count, zero, static_cast<size_t>(padded - count));
}

// Places kChunk codes of `row` that begin at column `k` (a multiple of kChunk).
void place_codes(const uint8_t* codes, int bits, int row, int64_t k, std::byte* tile_codes) {
  const int per_word = bits == 8 ? 4 : 8;
  for (int i = 0; i < kChunk; i += per_word) {
    uint8_t word[4];
    for (int j = 0; j < 4; ++j) {
      word[j] =
          bits == 8 ? codes[i + j] : static_cast<uint8_t>(codes[i + j] | (codes[i + j + 4] << 4));
    }
    std::memcpy(tile_codes + ((k + i) / per_word * kTileRows + row) * 4, word, 4);
  }
}

class RowPacker {
 public:
  RowPacker(const QuantFormat& format, const PackedLayout& layout, std::byte* tile)
      : format_(format), layout_(layout), tile_(tile) {}

  // values: k floats, or null for a missing row.
  void pack(const float* values, int row) {
    GroupCode code = code_of(format_, Range{});
    for (int64_t k = 0; k < layout_.padded_k; k += kChunk) {
      uint8_t codes[kChunk];
      const int64_t step = layout_.group < kChunk ? layout_.group : kChunk;
      for (int64_t i = 0; i < kChunk; i += step) {
        const int64_t begin = k + i, left = layout_.k - begin;
        const int64_t padded = kChunk - i < step ? kChunk - i : step;
        const int64_t count = left < 0 ? 0 : (left < padded ? left : padded);
        if (begin < layout_.k && begin % layout_.group == 0) code = begin_group(values, row, begin);
        make_codes(values + begin, values ? count : 0, padded, code, codes + i);
      }
      place_codes(codes, format_.bits, row, k, tile_ + layout_.codes_offset);
    }
  }

 private:
  GroupCode begin_group(const float* values, int row, int64_t begin) {
    const int64_t left = layout_.k - begin;
    const int64_t count = left < layout_.group ? left : layout_.group;
    const GroupCode code = code_of(format_, values ? range_of(values + begin, count) : Range{});
    const int64_t slot = begin / layout_.group * kTileRows + row;
    std::memcpy(tile_ + slot * 2, &code.scale, 2);
    if (format_.offset == Offset::integer) {
      tile_[layout_.zeros_offset + slot] = static_cast<std::byte>(static_cast<uint8_t>(code.zero));
    }
    return code;
  }

  const QuantFormat& format_;
  const PackedLayout& layout_;
  std::byte* tile_;
};

int code_at(const QuantFormat& format, const PackedLayout& layout, const std::byte* tile, int row,
            int64_t k) {
  const auto* codes = reinterpret_cast<const uint8_t*>(tile + layout.codes_offset);
  if (format.bits == 8) return codes[(k / 4 * kTileRows + row) * 4 + k % 4];
  const uint8_t pair = codes[(k / 8 * kTileRows + row) * 4 + k % 4];
  return k % 8 < 4 ? pair & 15 : pair >> 4;
}

}  // namespace

void pack_tile(const QuantFormat& format, const FloatRows& rows, int64_t k, std::byte* tile) {
  check(rows.count >= 0 && rows.count <= kTileRows, "pack_tile takes at most one tile of rows");
  const PackedLayout layout = packed_layout(format, k);
  std::memset(tile, 0, static_cast<size_t>(layout.codes_offset));
  RowPacker packer(format, layout, tile);
  for (int row = 0; row < kTileRows; ++row) {
    packer.pack(row < rows.count ? rows.data + row * rows.stride : nullptr, row);
  }
}

float unpack_value(const QuantFormat& format, const PackedLayout& layout, const std::byte* tile,
                   int row, int64_t k) {
  const int64_t slot = k / layout.group * kTileRows + row;
  uint16_t scale;
  std::memcpy(&scale, tile + slot * 2, 2);
  const int zero = format.offset == Offset::integer
                       ? std::to_integer<int>(tile[layout.zeros_offset + slot])
                       : 1 << (format.bits - 1);
  return float_from_bf16(scale) * static_cast<float>(code_at(format, layout, tile, row, k) - zero);
}

void unpack_row(const QuantFormat& format, const PackedLayout& layout, const std::byte* tile,
                int row, float* out) {
  for (int64_t k = 0; k < layout.k; ++k) out[k] = unpack_value(format, layout, tile, row, k);
}

}  // namespace penstock
