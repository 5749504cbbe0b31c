// A family is data: which config keys mean what, how tensors are named, and the traits that never vary. 30 to 50 lines each in
// model/families/. parse_config() and WeightList read these rows; no code knows a family's name.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "model/spec.h"

namespace penstock {

enum class Role : uint8_t;

// "layers.{}.self_attn.q_proj" for a role; ".weight" and ".bias" are appended.
struct NamePattern {
  Role role;
  std::string_view pattern;
};

// The rest of Family (config keys, defaults, traits, refused keys) is completed in this header by its owner.
struct Family {
  std::string_view name;                          // "opt"
  std::span<const std::string_view> architectures;  // "OPTForCausalLM"
  std::span<const std::string_view> model_types;    // "opt"
  std::span<const std::string_view> prefixes;       // spellings of the part before the names: "model.decoder.", "decoder."
  std::span<const NamePattern> names;
};

std::span<const Family* const> families();

}  // namespace penstock
