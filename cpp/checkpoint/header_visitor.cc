#include "checkpoint/header_visitor.h"

#include <algorithm>
#include <utility>

#include "checkpoint/raw_dtype.h"

namespace penstock {
namespace {

constexpr std::string_view kMetadata = "__metadata__";

bool has_control(std::string_view name) {
  return std::any_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

std::string bytes_text(uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

}  // namespace

std::string tensor_name_fault(std::string_view name) {
  if (name.empty()) return "empty tensor name";
  if (name.size() > kMaxTensorNameBytes) return "tensor name too long: " + bytes_text(name.size());
  return has_control(name) ? "control character in a tensor name" : "";
}

HeaderVisitor::HeaderVisitor(const std::string& file, uint64_t data_begin, uint64_t data_bytes)
    : file_(file), data_begin_(data_begin), data_bytes_(data_bytes) {}

void HeaderVisitor::refuse(const JsonPlace& place, const std::string& why, Fault fault) const {
  const std::string pointer = place.pointer();
  throw Error(ErrorCode::malformed, why,
              {.file = file_,
               .field = pointer.empty() ? "offset " + std::to_string(place.offset()) : pointer,
               .found = std::move(fault.found),
               .allowed = std::move(fault.allowed)});
}

void HeaderVisitor::scalar(const JsonPlace& place, const JsonScalar& value) {
  const std::string found(json_kind(value));
  if (place.depth() == 0) refuse(place, "the header is not an object", {found, "an object"});
  if (place.depth() == 1) refuse(place, "the entry is not an object", {found, "an object"});
  if (place.depth() == 3) return add_number(place, value);
  const auto* text = std::get_if<std::string_view>(&value);
  if (metadata_) {
    if (text == nullptr) refuse(place, "metadata is not text", {found, "a string"});
    header_.metadata.emplace(key_, *text);
    if (header_.metadata.size() > kMaxMetadata) {
      refuse(place, "too much metadata", {"more", std::to_string(kMaxMetadata) + " members"});
    }
    return;
  }
  if (field_ != Field::dtype) refuse(place, "not a list", {found, "a list of integers"});
  if (text == nullptr) refuse(place, "the dtype is not text", {found, "a string"});
  if (find_raw_dtype(*text) == nullptr) {
    refuse(place, "unknown dtype", {json_text(value), "a dtype of the safetensors format"});
  }
  entry_.dtype = *text;
}

void HeaderVisitor::key(const JsonPlace& place, const std::string& name) {
  if (place.depth() == 1) return start_name(place, name);
  if (metadata_) {
    key_ = name;
  } else {
    start_field(place, name);
  }
}

void HeaderVisitor::begin(const JsonPlace& place, bool object) {
  const std::string found = object ? "an object" : "a list";
  if (place.depth() == 0 && !object)
    refuse(place, "the header is not an object", {found, "an object"});
  if (place.depth() == 1 && !object)
    refuse(place, "the entry is not an object", {found, "an object"});
  if (place.depth() < 2) return;
  if (metadata_) refuse(place, "metadata is not text", {found, "a string"});
  if (place.depth() > 2) refuse(place, "not a flat list", {found, "an integer"});
  if (field_ == Field::dtype) refuse(place, "the dtype is not text", {found, "a string"});
  if (object) refuse(place, "not a list", {found, "a list of integers"});
}

void HeaderVisitor::end(const JsonPlace& place, bool object) {
  if (place.depth() == 1 && !metadata_) finish_entry(place);
  if (place.depth() == 2 && !object && field_ == Field::data_offsets && offset_count_ != 2) {
    refuse(place, "data_offsets needs two numbers", {std::to_string(offset_count_), "2"});
  }
}

void HeaderVisitor::start_name(const JsonPlace& place, const std::string& name) {
  metadata_ = name == kMetadata;
  if (metadata_) return;
  if (const std::string fault = tensor_name_fault(name); !fault.empty()) {
    refuse(place, fault, {quote_for_message(name), "1 to 1024 bytes of text"});
  }
  if (header_.tensors.size() >= kMaxTensors) {
    refuse(place, "too many tensors", {"more", std::to_string(kMaxTensors)});
  }
  entry_ = {};
  entry_.name = name;
  fields_ = 0;
  offset_count_ = 0;
}

void HeaderVisitor::start_field(const JsonPlace& place, const std::string& name) {
  constexpr std::pair<std::string_view, Field> kFields[] = {
      {"dtype", Field::dtype}, {"shape", Field::shape}, {"data_offsets", Field::data_offsets}};
  const auto* row = std::find_if(std::begin(kFields), std::end(kFields),
                                 [&](const auto& field) { return field.first == name; });
  if (row == std::end(kFields)) {
    refuse(place, "unknown field", {quote_for_message(name), "dtype, shape, data_offsets"});
  }
  field_ = row->second;
  fields_ |= 1 << static_cast<int>(field_);
}

void HeaderVisitor::add_number(const JsonPlace& place, const JsonScalar& value) {
  const auto* number = std::get_if<uint64_t>(&value);
  if (number == nullptr)
    refuse(place, "not a non-negative integer", {json_text(value), "an integer >= 0"});
  if (field_ == Field::shape) {
    if (*number > kMaxDimension) {
      refuse(place, "dimension too large", {json_text(value), std::to_string(kMaxDimension)});
    }
    if (entry_.shape.size() >= kMaxRank)
      refuse(place, "rank too high", {"more", "at most 8 dimensions"});
    entry_.shape.push_back(static_cast<int64_t>(*number));
    return;
  }
  if (offset_count_ >= 2) refuse(place, "data_offsets needs two numbers", {"more", "2"});
  if (*number > data_bytes_) {
    refuse(place, "offset beyond the data",
           {json_text(value), "at most " + std::to_string(data_bytes_)});
  }
  offsets_[offset_count_++] = *number;
}

// The zero dimensions are left aside until the end, so that their place does not matter.
uint64_t HeaderVisitor::shape_bytes(const JsonPlace& place, int bits) const {
  uint64_t product = static_cast<uint64_t>(bits);
  bool empty = false;
  for (const int64_t dimension : entry_.shape) {
    empty = empty || dimension == 0;
    if (dimension != 0 &&
        __builtin_mul_overflow(product, static_cast<uint64_t>(dimension), &product)) {
      refuse(place, "the shape overflows 64 bits");
    }
  }
  if (empty) return 0;
  if (product % 8 != 0)
    refuse(place, "the tensor has no whole number of bytes",
           {std::to_string(product) + " bits", ""});
  return product / 8;
}

void HeaderVisitor::finish_entry(const JsonPlace& place) {
  for (const Field field : {Field::dtype, Field::shape, Field::data_offsets}) {
    constexpr const char* kNames[] = {"dtype", "shape", "data_offsets"};
    if (!has(field)) refuse(place, std::string("missing field ") + kNames[static_cast<int>(field)]);
  }
  const std::string range =
      "[" + std::to_string(offsets_[0]) + ", " + std::to_string(offsets_[1]) + "]";
  if (offsets_[0] > offsets_[1])
    refuse(place, "data_offsets end before they begin", {range, "begin <= end"});
  const uint64_t bytes = shape_bytes(place, find_raw_dtype(entry_.dtype)->bits);
  if (bytes != offsets_[1] - offsets_[0]) {
    refuse(place, "shape and dtype do not fit data_offsets",
           {bytes_text(offsets_[1] - offsets_[0]), bytes_text(bytes)});
  }
  entry_.offset = data_begin_ + offsets_[0];
  entry_.bytes = bytes;
  header_.tensors.push_back(std::move(entry_));
}

}  // namespace penstock
