#include "tensor/format.h"

#include <array>
#include <string>

#include "base/error.h"
#include "tensor/kv_layout.h"

namespace penstock {
namespace {

constexpr QuantFormat raw_row(std::string_view name, DType dtype) {
  return {.name = name, .code = Code::raw, .raw = dtype, .for_weights = true, .for_kv = true};
}

constexpr QuantFormat weight_row(std::string_view name, int bits, int group, Offset offset) {
  return {.name = name, .code = Code::uint, .bits = bits, .group = group, .offset = offset};
}

constexpr QuantFormat kv_row(std::string_view name, int bits, Offset offset) {
  return {.name = name,
          .code = Code::uint,
          .bits = bits,
          .group = kKvGroup,
          .offset = offset,
          .for_weights = false,
          .for_kv = true};
}

constexpr std::array kFormats = {
    raw_row("fp32", DType::f32),
    raw_row("fp16", DType::f16),
    raw_row("bf16", DType::bf16),
    weight_row("int8", 8, 0, Offset::midpoint),
    weight_row("int8-g32", 8, 32, Offset::midpoint),
    weight_row("int8-g64", 8, 64, Offset::midpoint),
    weight_row("int8-g128", 8, 128, Offset::midpoint),
    weight_row("int4-g32", 4, 32, Offset::integer),
    weight_row("int4-g64", 4, 64, Offset::integer),
    weight_row("int4-g128", 4, 128, Offset::integer),
    kv_row("kv-int8", 8, Offset::midpoint),
    kv_row("kv-int4", 4, Offset::real),
};

constexpr int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// The name users write for a row of the KV cache: without the "kv-".
constexpr std::string_view kv_user_name(std::string_view name) {
  return name.starts_with("kv-") ? name.substr(3) : name;
}

[[noreturn]] void refuse_name(std::string_view what, std::string_view name, std::string allowed) {
  throw Error(ErrorCode::unsupported, std::string("unknown ") + std::string(what) + " format",
              ErrorDetail{.file = {},
                          .field = {},
                          .found = escape_for_message(name),
                          .allowed = std::move(allowed)});
}

}  // namespace

std::span<const QuantFormat> format_table() { return kFormats; }

const QuantFormat& format(FormatId id) {
  check(id < kFormats.size(), "format id is outside the table");
  return kFormats[id];
}

FormatId weight_format(std::string_view name) {
  const std::string_view wanted = name == "int4" ? "int4-g64" : name;
  std::string allowed = "int4";
  for (size_t i = 0; i < kFormats.size(); ++i) {
    if (!kFormats[i].for_weights) continue;
    if (kFormats[i].name == wanted) return static_cast<FormatId>(i);
    allowed += ", " + std::string(kFormats[i].name);
  }
  refuse_name("weight", name, std::move(allowed));
}

FormatId kv_format(std::string_view name) {
  std::string allowed;
  for (size_t i = 0; i < kFormats.size(); ++i) {
    if (!kFormats[i].for_kv) continue;
    const std::string_view user = kv_user_name(kFormats[i].name);
    if (name == user || name == kFormats[i].name) return static_cast<FormatId>(i);
    allowed += (allowed.empty() ? "" : ", ") + std::string(user);
  }
  refuse_name("KV cache", name, std::move(allowed));
}

FormatId raw_format(DType dtype) {
  for (size_t i = 0; i < kFormats.size(); ++i) {
    if (!kFormats[i].quantised() && kFormats[i].raw == dtype) return static_cast<FormatId>(i);
  }
  throw Error(ErrorCode::internal, "element type without a row in the format table");
}

PackedLayout packed_layout(const QuantFormat& format, int64_t k) {
  check(format.quantised() && format.for_weights, "packed_layout needs a quantised weight format");
  check(k > 0, "packed_layout needs at least one column");
  PackedLayout layout;
  layout.k = k;
  layout.padded_k = round_up(k, kTileK);
  layout.group = format.group > 0 ? format.group : k;
  layout.groups = (k + layout.group - 1) / layout.group;
  const int64_t scale_bytes = layout.groups * kTileRows * 2;
  const int64_t zero_bytes = format.offset == Offset::integer ? layout.groups * kTileRows : 0;
  layout.zeros_offset = scale_bytes;
  layout.codes_offset = round_up(scale_bytes + zero_bytes, 64);
  layout.tile_bytes = layout.codes_offset + layout.padded_k * kTileRows * format.bits / 8;
  return layout;
}

int64_t packed_block_rows(const QuantFormat& format, int64_t rows, int64_t k) {
  constexpr int64_t kMostBytes = int64_t{3} << 20;
  const int64_t tile_bytes = packed_layout(format, k).tile_bytes;
  int64_t block = kTileRows;
  while (block < rows && 2 * (block / kTileRows) * tile_bytes <= kMostBytes) block *= 2;
  return block;
}

int64_t activation_block(const QuantFormat& format) {
  return format.group > 0 ? format.group : kTileK;
}

Compute parse_compute(std::string_view name) {
  if (name == "fast") return Compute::fast;
  if (name == "weight_only") return Compute::weight_only;
  if (name == "exact") return Compute::exact;
  throw Error(ErrorCode::invalid_argument, "unknown compute mode",
              {.file = {},
               .field = "compute",
               .found = escape_for_message(name),
               .allowed = "fast, weight_only, exact"});
}

int64_t prepared_row_bytes(const QuantFormat& format, int64_t k, Compute compute) {
  const int64_t padded_k = round_up(k, kTileK);
  const bool bf16 = format.quantised() ? compute == Compute::weight_only
                                       : format.raw == DType::bf16 && compute != Compute::exact;
  int64_t bytes = padded_k * (bf16 ? 2 : 4);
  if (format.quantised() && compute == Compute::fast) {
    const int64_t block = activation_block(format);
    bytes = round_up(padded_k + (k + block - 1) / block * 8, 64);
  }
  // An odd number of cache lines: rows that are read side by side do not meet in one cache set.
  return bytes / 64 % 2 == 0 ? bytes + 64 : bytes;
}

std::string product_name(const QuantFormat& format, Compute compute, bool invariant) {
  if (format.quantised() && compute == Compute::exact) return "fp32";
  std::string name(format.name);
  if (!format.quantised() || compute != Compute::weight_only) return name;
  name += ":bf16";
  return invariant ? name : name.append(kVariantProduct);
}

double bits_per_value(const QuantFormat& format, int64_t k) {
  if (!format.quantised()) return 8.0 * dtype_bytes(format.raw);
  if (!format.for_weights) {
    const int64_t groups = (k + format.group - 1) / format.group;
    return format.bits + 32.0 * static_cast<double>(groups) / static_cast<double>(k);
  }
  const PackedLayout layout = packed_layout(format, k);
  return 8.0 * static_cast<double>(layout.tile_bytes) / static_cast<double>(kTileRows * k);
}

}  // namespace penstock
