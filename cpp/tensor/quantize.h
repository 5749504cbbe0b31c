// Scalar pack and unpack per format: the reference every kernel is tested against. Slow and plain
// on purpose, but used by the packer too, so pack_tile is written to be vectorised by the compiler.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/format.h"

namespace penstock {

// Row-major fp32 values; `stride` floats between rows.
struct FloatRows {
  const float* data = nullptr;
  int64_t count = 0;
  int64_t stride = 0;
};

// Packs rows (at most kTileRows) of k values into one tile. Missing rows become zeros. Scales are
// round-up bf16 so that every value is inside the code range; a group with a NaN or an infinity
// becomes NaN.
void pack_tile(const QuantFormat& format, const FloatRows& rows, int64_t k, std::byte* tile);

// Value of element (row, k) of a tile.
float unpack_value(const QuantFormat& format, const PackedLayout& layout, const std::byte* tile,
                   int row, int64_t k);

// Unpacks one row of a tile into out[0..k).
void unpack_row(const QuantFormat& format, const PackedLayout& layout, const std::byte* tile,
                int row, float* out);

}  // namespace penstock
