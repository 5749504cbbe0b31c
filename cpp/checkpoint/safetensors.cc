#include "checkpoint/safetensors.h"

#include <algorithm>
#include <string_view>
#include <tuple>

#include "base/error.h"
#include "checkpoint/diagnosis.h"
#include "checkpoint/digest.h"
#include "checkpoint/header_visitor.h"

namespace penstock {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

// A file that is something else altogether is named as such.
[[noreturn]] void refuse_file(const File& file, const std::string& why, ErrorDetail detail) {
  const std::string diagnosis = diagnose_foreign_file(file);
  detail.file = file.path();
  throw Error(ErrorCode::malformed, diagnosis.empty() ? why : "this is " + diagnosis + "; " + why,
              detail);
}

std::string bytes_text(uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

uint64_t read_length(const File& file) {
  if (file.bytes() < kLengthBytes) {
    refuse_file(file, "too small for a safetensors file",
                {.file = "",
                 .field = "offset 0",
                 .found = bytes_text(file.bytes()),
                 .allowed = ">= 8 bytes"});
  }
  unsigned char raw[kLengthBytes];
  file.read_unaligned(raw, kLengthBytes, 0);
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= uint64_t{raw[i]} << (8 * i);
  const uint64_t rest = file.bytes() - kLengthBytes;
  if (length > kMaxHeaderBytes || length > rest) {
    refuse_file(file,
                length > kMaxHeaderBytes ? "the header is too long"
                                         : "the header passes the end of the file",
                {.file = "",
                 .field = "offset 0",
                 .found = bytes_text(length),
                 .allowed = "at most " + bytes_text(std::min(kMaxHeaderBytes, rest))});
  }
  return length;
}

std::string read_header_text(const File& file, uint64_t length) {
  std::string text(length, '\0');
  file.read_unaligned(text.data(), length, kLengthBytes);
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || text[first] != '{') {
    const bool empty = first == std::string::npos;
    refuse_file(file, "the header is not an object",
                {.file = "",
                 .field = "offset " + std::to_string(kLengthBytes + (empty ? 0 : first)),
                 .found = empty ? "nothing" : quote_for_message(text.substr(first, 16)),
                 .allowed = "'{'"});
  }
  return text;
}

// The tensors must cover the data exactly, in any order of the text.
void check_tiling(const File& file, const std::vector<TensorEntry>& tensors, uint64_t data_begin) {
  uint64_t at = data_begin;
  const auto refuse = [&](const std::string& why, const std::string& field, uint64_t found) {
    throw Error(ErrorCode::malformed, why,
                {.file = file.path(),
                 .field = field,
                 .found = "data offset " + std::to_string(found - data_begin),
                 .allowed = "data offset " + std::to_string(at - data_begin)});
  };
  for (const TensorEntry& tensor : tensors) {
    const std::string field = "/" + escape_for_message(tensor.name) + "/data_offsets";
    if (tensor.offset < at) refuse("tensors overlap", field, tensor.offset);
    if (tensor.offset > at) refuse("a gap in the data before this tensor", field, tensor.offset);
    at = tensor.offset + tensor.bytes;
  }
  if (at != file.bytes()) {
    refuse("bytes after the last tensor", "offset " + std::to_string(at), file.bytes());
  }
}

}  // namespace

SafetensorsHeader read_safetensors_header(const File& file) {
  if (file.path().ends_with(".incomplete")) refuse_file(file, "it is not read", {});
  const uint64_t length = read_length(file);
  const uint64_t data_begin = kLengthBytes + length;
  SafetensorsHeader header;
  std::string digest;
  {
    const std::string text = read_header_text(file, length);
    HeaderVisitor visitor(file.path(), data_begin, file.bytes() - data_begin);
    visit_strict_json(text, file.path(), visitor);
    header = visitor.take();
    digest = Digest().add(text).hex();
  }
  header.digest = digest;
  std::sort(header.tensors.begin(), header.tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.offset, a.bytes) < std::tie(b.offset, b.bytes);
  });
  check_tiling(file, header.tensors, data_begin);
  return header;
}

}  // namespace penstock
