// The format table: how the values of a weight or of the KV cache are coded, one entry per format.
// Only the fp32 value of a code is normative:
//
//   - raw:                         w = the stored element
//   - uint, Offset::midpoint:      w = s * (q - 2^(bits - 1))
//   - uint, Offset::integer:       w = s * (q - zero), a zero stored for each group
//   - uint, Offset::real:          w = bias + s * q, a bias stored for each group
//
// Groups run along K (weights) or head_dim (KV); the last group of a row may be shorter.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tensor/dtype.h"

namespace penstock {

enum class Code : uint8_t { raw, uint };
enum class Offset : uint8_t { none, midpoint, integer, real };

struct QuantFormat {
  std::string_view name;  // "fp32", "bf16", "int8", "int8-g128", "int4-g64", ...
  Code code = Code::raw;
  DType raw = DType::f32;  // for Code::raw
  int bits = 0;            // for Code::uint: 4 or 8
  int group = 0;           // values per scale; 0: one per row
  Offset offset = Offset::none;
  bool for_weights = true;
  bool for_kv = false;

  bool quantised() const { return code != Code::raw; }
};

using FormatId = uint8_t;  // index into the table

std::span<const QuantFormat> format_table();
const QuantFormat& format(FormatId id);
// Names as in the table; "int4" means "int4-g64" for weights and the KV row for the cache. Throws
// Error(unsupported) listing the allowed names.
FormatId weight_format(std::string_view name);
FormatId kv_format(std::string_view name);
FormatId raw_format(DType dtype);

// The packed layout of a quantised weight [N, K]: what kernels read and what the cache file holds.
// Rows are packed in tiles of kTileRows; the last tile is padded with rows of zero value. K is
// padded to a multiple of kTileK with codes whose activations are always zero. One tile is
// contiguous and has these parts, in order; G is the number of groups of a row, Kp the padded K:
//
//   - scales:         bf16 [G][16]
//   - zeros:          u8 [G][16], only for Offset::integer
//   - padding:        to a multiple of 64 bytes
//   - codes of 8 bit: u8 [Kp / 4][16][4]; that of (row r, k) is at ((k / 4) * 16 + r) * 4 + k % 4
//   - codes of 4 bit: u8 [Kp / 8][16][4]; that of (row r, k) is in the byte at
//                     ((k / 8) * 16 + r) * 4 + k % 4, in the low nibble when k % 8 < 4
//
// So one load of 64 bytes gives 16 rows x 4 (or 8) consecutive k, the operand order of dpbusd.
inline constexpr int kTileRows = 16;
inline constexpr int kTileK = 128;

struct PackedLayout {
  int64_t k = 0;  // logical K
  int64_t padded_k = 0;
  int64_t groups = 0;        // per row
  int64_t group = 0;         // values per group (K itself for per-row formats)
  int64_t zeros_offset = 0;  // bytes from the tile's start; scales are at 0
  int64_t codes_offset = 0;
  int64_t tile_bytes = 0;  // multiple of 64
};
PackedLayout packed_layout(const QuantFormat& format, int64_t k);

// Rows of one transfer block of a packed weight: kTileRows times a power of two, about 2 MiB (at
// most 3, unless one tile is larger); may exceed `rows`, the last block of a weight is then cut
// short. A block is contiguous tiles.
int64_t packed_block_rows(const QuantFormat& format, int64_t rows, int64_t k);

// K values that share one int8 activation scale for a weight of this format: the weight's group, or
// 128 per row.
int64_t activation_block(const QuantFormat& format);

// What weights are multiplied with.
enum class Compute : uint8_t {
  fast,         // quantised weights with int8 activations
  weight_only,  // quantised weights with 16-bit activations, on devices that have such products
  exact,        // fp32 activations; queries and weights of attention are fp32 too
};
// "fast", "weight_only", "exact". Throws Error(invalid_argument).
Compute parse_compute(std::string_view name);

// Bytes of one row of a GEMM input prepared for a weight of this format (see kernels/params.h,
// prepared_layout_for): what a plan must set aside without knowing kernels.
int64_t prepared_row_bytes(const QuantFormat& format, int64_t k, Compute compute);

// What a machine's rate of such products is measured as: the format's name, "fp32" with fp32
// activations, "int4-g64:bf16" and the like with 16-bit ones, and with kVariantProduct behind it
// where their bits may follow from the number of rows.
inline constexpr std::string_view kVariantProduct = ":variant";
std::string product_name(const QuantFormat& format, Compute compute, bool invariant = true);

// Bits per weight including scales and zero points, for reports and the cost model.
double bits_per_value(const QuantFormat& format, int64_t k);

}  // namespace penstock
