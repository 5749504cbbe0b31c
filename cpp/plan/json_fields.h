// Typed reads from a JSON object that people write (a policy, a machine). Every field is optional,
// unknown ones are refused. Every refusal is Error(invalid_argument) with the file, the field, what
// was found and what is allowed.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace penstock {

class JsonFields {
 public:
  // `json` must outlive this. `field` is the place of the object itself, "" for the root.
  JsonFields(const Json& json, std::string file, std::string field);

  void allow_only(std::initializer_list<std::string_view> names) const;
  bool has(std::string_view name) const { return json_.contains(name); }
  std::optional<int> integer(std::string_view name, int min, int max) const;
  // A finite number in [min, max].
  std::optional<double> number(std::string_view name, double min, double max) const;
  std::optional<std::vector<int>> integers(std::string_view name, int min, int max) const;
  std::optional<bool> flag(std::string_view name) const;
  std::optional<std::string> text(std::string_view name) const;
  std::optional<JsonFields> object(std::string_view name) const;
  // Objects of a list; empty when the field is missing.
  std::vector<JsonFields> objects(std::string_view name) const;
  [[noreturn]] void refuse(std::string_view name, std::string_view why,
                           std::string_view allowed) const;

 private:
  const Json* find(std::string_view name) const;
  std::string place(std::string_view name) const;  // of a field, from the root

  const Json& json_;
  std::string file_, field_;
};

}  // namespace penstock
