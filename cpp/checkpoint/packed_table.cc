#include "checkpoint/packed_table.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <set>
#include <utility>

#include "base/checked.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/json.h"
#include "base/version.h"

namespace penstock {
namespace {

constexpr char kMagic[8] = {'P', 'N', 'S', 'T', 'K', 'P', 'C', 'K'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kByteOrder = 0x01020304;
constexpr size_t kCrcDigits = 8;

struct Prefix {
  char magic[8];
  uint32_t version, byte_order;
  uint64_t header_bytes, file_bytes;
  uint32_t header_crc, prefix_crc;  // the latter over all before it
};
static_assert(sizeof(Prefix) == 40 && sizeof(Prefix) <= kPackedPrefixBytes);

uint32_t prefix_crc(const Prefix& prefix) {
  return crc32c(0, &prefix, offsetof(Prefix, prefix_crc));
}

void check_key(const std::string& key) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  const bool good = !key.empty() && key.size() <= 200 && key[0] != '.' &&
                    std::all_of(key.begin(), key.end(), allowed);
  if (good) return;
  throw Error(ErrorCode::invalid_argument, "bad key of a packed cache",
              {.file = "",
               .field = "key",
               .found = quote_for_message(key),
               .allowed = "1 to 200 of A-Z a-z 0-9 . _ -, not beginning with '.'"});
}

// Offsets are from data_begin.
PackedTensor plan_tensor(const PackSource& source, uint64_t& at) {
  const QuantFormat& row = format(source.format);
  check(row.quantised() && row.for_weights, "only quantised weights are packed");
  check(source.rows > 0 && source.k > 0, "a packed tensor has rows and columns");
  const int64_t tile_bytes = packed_layout(row, source.k).tile_bytes;
  const int64_t block_rows = packed_block_rows(row, source.rows, source.k);
  PackedTensor tensor{.name = source.name,
                      .format = source.format,
                      .rows = source.rows,
                      .k = source.k,
                      .blocks = {}};
  for (int64_t begin = 0; begin < source.rows; begin += block_rows) {
    const int64_t end = std::min(source.rows, begin + block_rows);
    const int64_t bytes = checked_mul(ceil_div(end - begin, kTileRows), tile_bytes, "packed block");
    tensor.blocks.push_back({.offset = at,
                             .bytes = static_cast<uint64_t>(bytes),
                             .crc = 0,
                             .row_begin = begin,
                             .row_end = end});
    at = checked_add(static_cast<int64_t>(at), round_up(bytes, kIoAlignment), "packed file");
  }
  return tensor;
}

std::string crc_text(const PackedTensor& tensor) {
  std::string text;
  for (const PackedBlock& block : tensor.blocks) {
    char digits[kCrcDigits + 1];
    std::snprintf(digits, sizeof digits, "%08x", block.crc);
    text += digits;
  }
  return text;
}

bool read_crcs(const std::string& text, PackedTensor& tensor) {
  if (text.size() != tensor.blocks.size() * kCrcDigits) return false;
  const char* at = text.data();
  for (PackedBlock& block : tensor.blocks) {
    const auto [end, error] = std::from_chars(at, at + kCrcDigits, block.crc, 16);
    if (error != std::errc() || end != at + kCrcDigits) return false;
    at = end;
  }
  return true;
}

Json table_row(const PackedTensor& tensor, uint64_t data_begin) {
  const PackedBlock& first = tensor.blocks.front();
  return {{"name", tensor.name},
          {"format", std::string(format(tensor.format).name)},
          {"rows", tensor.rows},
          {"k", tensor.k},
          {"block_rows", first.row_end},
          {"block_bytes", first.bytes},
          {"offset", first.offset - data_begin},
          {"crc", crc_text(tensor)}};
}

std::string header_text(const PackedPlan& plan) {
  Json table = Json::array();
  for (const PackedTensor& tensor : plan.tensors)
    table.push_back(table_row(tensor, plan.data_begin));
  const Json header = {
      {"engine", std::string(version())}, {"key", plan.key}, {"tensors", std::move(table)}};
  return header.dump();
}

std::string prefix_fault(const Prefix& prefix, const PackedPlan& plan, uint64_t file_bytes) {
  if (std::memcmp(prefix.magic, kMagic, sizeof kMagic) != 0)
    return "it is not a packed-weight file";
  if (prefix.byte_order != kByteOrder) return "it was written with another byte order";
  if (prefix.version != kVersion) return "it has format version " + std::to_string(prefix.version);
  if (prefix.prefix_crc != prefix_crc(prefix)) return "the checksum of its prefix does not match";
  if (prefix.file_bytes != file_bytes) {
    return "it should have " + std::to_string(prefix.file_bytes) + " bytes and has " +
           std::to_string(file_bytes);
  }
  const bool fits = prefix.header_bytes == plan.header_bytes && file_bytes == plan.file_bytes;
  return fits ? "" : "its table does not fit the model";
}

// Takes the checksums out of the parsed header and compares the rest.
std::string header_fault(const Json& header, PackedPlan& plan) {
  const auto text_of = [](const Json& object, const char* name) {
    const Json* at = object.find(name);
    return at != nullptr && at->is_string() ? at->get<std::string>() : std::string();
  };
  if (!header.is_object() || header.size() != 3) return "its header is malformed";
  if (text_of(header, "engine") != version()) return "it was written by another engine version";
  if (text_of(header, "key") != plan.key) return "it was made for other sources";
  const Json* table = header.find("tensors");
  if (table == nullptr || !table->is_array() || table->size() != plan.tensors.size()) {
    return "its table does not fit the model";
  }
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const Json& row = (*table)[i];
    PackedTensor& tensor = plan.tensors[i];
    const bool fits = row.is_object() && read_crcs(text_of(row, "crc"), tensor) &&
                      row == table_row(tensor, plan.data_begin);
    if (!fits) return "its table does not fit tensor '" + escape_for_message(tensor.name) + "'";
  }
  return "";
}

}  // namespace

PackedPlan plan_packed_file(const std::string& key, const std::vector<PackSource>& sources) {
  check_key(key);
  PackedPlan plan{.key = key, .tensors = {}, .header_bytes = 0, .data_begin = 0, .file_bytes = 0};
  std::set<std::string_view> names;
  uint64_t bytes = 0;
  for (const PackSource& source : sources) {
    check(names.insert(source.name).second, "two packed tensors have one name");
    plan.tensors.push_back(plan_tensor(source, bytes));
  }
  plan.header_bytes = header_text(plan).size();
  plan.data_begin =
      round_up(static_cast<int64_t>(kPackedPrefixBytes + plan.header_bytes), kIoAlignment);
  plan.file_bytes = plan.data_begin + bytes;
  for (PackedTensor& tensor : plan.tensors) {
    for (PackedBlock& block : tensor.blocks) block.offset += plan.data_begin;
  }
  return plan;
}

void write_packed_head(const PackedPlan& plan, std::span<std::byte> out) {
  const std::string header = header_text(plan);
  check(header.size() == plan.header_bytes && out.size() == plan.data_begin, "packed header size");
  Prefix prefix{.magic = {},
                .version = kVersion,
                .byte_order = kByteOrder,
                .header_bytes = plan.header_bytes,
                .file_bytes = plan.file_bytes,
                .header_crc = crc32c(0, header.data(), header.size()),
                .prefix_crc = 0};
  std::memcpy(prefix.magic, kMagic, sizeof kMagic);
  prefix.prefix_crc = prefix_crc(prefix);
  std::memset(out.data(), 0, out.size());
  std::memcpy(out.data(), &prefix, sizeof prefix);
  std::memcpy(out.data() + kPackedPrefixBytes, header.data(), header.size());
}

std::string read_packed_head(const File& file, PackedPlan& plan) {
  if (file.bytes() < kPackedPrefixBytes) return "it is shorter than its prefix";
  Prefix prefix;
  file.read_unaligned(&prefix, sizeof prefix, 0);
  if (std::string fault = prefix_fault(prefix, plan, file.bytes()); !fault.empty()) return fault;
  std::string header(plan.header_bytes, '\0');
  file.read_unaligned(header.data(), header.size(), kPackedPrefixBytes);
  if (crc32c(0, header.data(), header.size()) != prefix.header_crc) {
    return "the checksum of its header does not match";
  }
  return header_fault(parse_strict_json(header, file.path()), plan);
}

}  // namespace penstock
