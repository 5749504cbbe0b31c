#include "plan/json_fields.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace penstock {
namespace {

std::string range(double min, double max) {
  const auto text = [](double value) { return Json(value).dump(); };
  return text(min) + " to " + text(max);
}

bool is_integer(const Json& value, int min, int max) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<uint64_t>() <= INT32_MAX) &&
         value.get<int64_t>() >= min && value.get<int64_t>() <= max;
}

}  // namespace

JsonFields::JsonFields(const Json& json, std::string file, std::string field)
    : json_(json), file_(std::move(file)), field_(std::move(field)) {
  if (json_.is_object()) return;
  throw Error(ErrorCode::invalid_argument, "wrong type",
              {file_, field_, escape_for_message(json_.dump()), "an object"});
}

const Json* JsonFields::find(std::string_view name) const { return json_.find(name); }

std::string JsonFields::place(std::string_view name) const {
  return field_.empty() ? std::string(name) : field_ + "." + std::string(name);
}

void JsonFields::refuse(std::string_view name, std::string_view why,
                        std::string_view allowed) const {
  const Json* value = name.empty() ? &json_ : find(name);
  const std::string separator = field_.empty() || name.empty() ? "" : ".";
  const std::string field = field_ + separator + escape_for_message(name);
  const std::string found = value == nullptr ? "" : escape_for_message(value->dump());
  throw Error(ErrorCode::invalid_argument, std::string(why),
              {file_, field, found, std::string(allowed)});
}

void JsonFields::allow_only(std::initializer_list<std::string_view> names) const {
  std::string allowed;
  for (std::string_view name : names) allowed += (allowed.empty() ? "" : ", ") + std::string(name);
  for (const auto& [key, value] : json_.items()) {
    if (std::find(names.begin(), names.end(), key) != names.end()) continue;
    refuse(key, "unknown field", allowed);
  }
}

std::optional<int> JsonFields::integer(std::string_view name, int min, int max) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!is_integer(*value, min, max)) {
    const std::string allowed = "an integer, " + std::to_string(min) + " to " + std::to_string(max);
    refuse(name, value->is_number_integer() ? "out of range" : "wrong type", allowed);
  }
  return value->get<int>();
}

std::optional<std::vector<int>> JsonFields::integers(std::string_view name, int min,
                                                     int max) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  const bool all =
      value->is_array() && std::all_of(value->elements().begin(), value->elements().end(),
                                       [&](const Json& v) { return is_integer(v, min, max); });
  if (!all) {
    refuse(name, "wrong type or out of range",
           "a list of integers, " + std::to_string(min) + " to " + std::to_string(max));
  }
  std::vector<int> numbers;
  for (const Json& element : value->elements()) numbers.push_back(element.get<int>());
  return numbers;
}

std::optional<double> JsonFields::number(std::string_view name, double min, double max) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_number()) refuse(name, "wrong type", "a number, " + range(min, max));
  const double number = value->get<double>();
  if (!std::isfinite(number) || number < min || number > max) {
    refuse(name, "out of range", range(min, max));
  }
  return number;
}

std::optional<bool> JsonFields::flag(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_boolean()) refuse(name, "wrong type", "true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonFields::text(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse(name, "wrong type", "a string");
  return value->get<std::string>();
}

std::optional<JsonFields> JsonFields::object(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  return JsonFields(*value, file_, place(name));
}

std::vector<JsonFields> JsonFields::objects(std::string_view name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_array()) refuse(name, "wrong type", "a list of objects");
  std::vector<JsonFields> list;
  for (size_t i = 0; i < value->size(); ++i) {
    list.emplace_back((*value)[i], file_, place(name) + "[" + std::to_string(i) + "]");
  }
  return list;
}

}  // namespace penstock
