// Typed reads from one JSON object of config.json. Every refusal names the file, the JSON pointer,
// what was found and what is allowed. A key whose value is null counts as absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace penstock {

struct IntegerRange {
  int64_t min = 1, max = 1;
};

struct NumberRange {
  double above = 0, max = 0;  // above < value <= max
};

class ConfigObject {
 public:
  // `json` must be an object and outlive this; `pointer` is "" for the root.
  ConfigObject(const Json& json, std::string pointer, std::string file)
      : json_(json), pointer_(std::move(pointer)), file_(std::move(file)) {}

  const Json& json() const { return json_; }
  const Json* find(std::string_view key) const;  // nullptr when absent or null
  bool has(std::string_view key) const { return find(key) != nullptr; }

  // Empty when the key is absent; refused when the value has another type or lies outside.
  std::optional<int64_t> integer(std::string_view key, IntegerRange range) const;
  std::optional<double> number(std::string_view key, NumberRange range) const;
  std::optional<bool> flag(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  std::optional<std::vector<std::string>> texts(std::string_view key) const;
  std::optional<std::vector<double>> numbers(std::string_view key, NumberRange range) const;
  std::optional<ConfigObject> object(std::string_view key) const;

  template <class T>
  T require(std::string_view key, const std::optional<T>& value) const {
    if (!value) refuse(ErrorCode::malformed, key, "is missing", "");
    return *value;
  }

  [[noreturn]] void refuse(ErrorCode code, std::string_view key, std::string_view why,
                           std::string_view allowed) const;

 private:
  double read_number(const Json& value, std::string_view key, NumberRange range) const;

  const Json& json_;
  std::string pointer_;
  std::string file_;
};

}  // namespace penstock
