#include "model/config_object.h"

#include <sstream>

namespace penstock {
namespace {

std::string plain(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

}  // namespace

const Json* ConfigObject::find(std::string_view key) const {
  const Json* value = json_.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<int64_t> ConfigObject::integer(std::string_view key, IntegerRange range) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  const std::string allowed = std::to_string(range.min) + " to " + std::to_string(range.max);
  if (!value->is_number_integer()) refuse(ErrorCode::malformed, key, "is not an integer", allowed);
  const bool huge = value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX;
  if (huge || value->get<int64_t>() < range.min || value->get<int64_t>() > range.max) {
    refuse(ErrorCode::malformed, key, "is out of range", allowed);
  }
  return value->get<int64_t>();
}

double ConfigObject::read_number(const Json& value, std::string_view key, NumberRange range) const {
  const std::string allowed = "over " + plain(range.above) + ", up to " + plain(range.max);
  if (!value.is_number()) refuse(ErrorCode::malformed, key, "is not a number", allowed);
  const double number = value.get<double>();
  if (!(number > range.above && number <= range.max)) {
    refuse(ErrorCode::malformed, key, "is out of range", allowed);
  }
  return number;
}

std::optional<double> ConfigObject::number(std::string_view key, NumberRange range) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  return read_number(*value, key, range);
}

std::optional<bool> ConfigObject::flag(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_boolean()) refuse(ErrorCode::malformed, key, "is not a boolean", "true, false");
  return value->get<bool>();
}

std::optional<std::string> ConfigObject::text(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse(ErrorCode::malformed, key, "is not a string", "");
  return value->get<std::string>();
}

std::optional<std::vector<std::string>> ConfigObject::texts(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) refuse(ErrorCode::malformed, key, "is not a list of strings", "");
  std::vector<std::string> texts;
  for (const Json& element : value->elements()) {
    if (!element.is_string()) refuse(ErrorCode::malformed, key, "is not a list of strings", "");
    texts.push_back(element.get<std::string>());
  }
  return texts;
}

std::optional<std::vector<double>> ConfigObject::numbers(std::string_view key,
                                                         NumberRange range) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) refuse(ErrorCode::malformed, key, "is not a list of numbers", "");
  std::vector<double> numbers;
  for (const Json& element : value->elements()) numbers.push_back(read_number(element, key, range));
  return numbers;
}

std::optional<ConfigObject> ConfigObject::object(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_object()) refuse(ErrorCode::malformed, key, "is not an object", "");
  return ConfigObject(*value, pointer_ + "/" + std::string(key), file_);
}

void ConfigObject::refuse(ErrorCode code, std::string_view key, std::string_view why,
                          std::string_view allowed) const {
  const Json* value = json_.find(key);
  const std::string found = value == nullptr ? "" : escape_for_message(value->dump());
  throw Error(code, std::string(why),
              {file_, pointer_ + "/" + escape_for_message(key), found, std::string(allowed)});
}

}  // namespace penstock
