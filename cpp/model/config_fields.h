// Reads the fields of a family from config.json: types, limits, defaults.
#pragma once

#include <string>
#include <vector>

#include "model/config_object.h"
#include "model/family.h"

namespace penstock {

class ConfigFields {
 public:
  ConfigFields(const ConfigObject& root, const Family& family) : root_(root), family_(family) {}

  // The key of a field, or "" when the family has no such field.
  std::string_view key(Field field) const;
  bool given(Field field) const;
  int count(Field field) const;  // 0: absent and derived, or no such field
  bool flag(Field field) const;  // false: no such field
  double norm_eps() const;
  Activation activation() const;
  std::vector<std::string> names(Field field) const;

  const ConfigObject& root() const { return root_; }
  [[noreturn]] void refuse(ErrorCode code, Field field, std::string_view why,
                           std::string_view allowed = "") const;

 private:
  const ConfigKey* row(Field field) const;

  const ConfigObject& root_;
  const Family& family_;
};

}  // namespace penstock
