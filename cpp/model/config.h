// config.json -> ModelSpec through the family table. Unknown architectures, and unknown keys that
// may change what the model computes, are refused by name. Nothing is guessed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "model/family.h"
#include "model/spec.h"

namespace penstock {

// Of config.json; larger ones are refused before they are read.
inline constexpr size_t kMaxConfigBytes = 1 << 20;

struct ModelConfig {
  ModelSpec spec;
  const Family* family = nullptr;
  std::vector<std::string> notes;  // what was ignored or limited, for the report
};

// `text` is the content of config.json; `file` its path for messages. Throws Error(malformed |
// unsupported).
ModelConfig parse_config(std::string_view text, const std::string& file);
// "dummy:opt-6.7b" and friends: the config.json text of a known real shape. Throws Error(not_found)
// listing the names.
std::string shape_config(std::string_view name);
std::vector<std::string> shape_names();

}  // namespace penstock
