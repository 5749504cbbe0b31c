// A family is data: which config keys mean what, how tensors are named, and the traits that never
// vary. 15 to 65 lines each in model/families/. parse_config() and WeightList read these tables; no
// code knows a family's name.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/spec.h"

namespace penstock {

enum class Role : uint8_t;

// "layers.{}.self_attn.q_proj" for a role; ".weight" and ".bias" are appended. A leading '/' means
// without the prefix.
struct NamePattern {
  Role role;
  std::string_view pattern;
};

// What a config key can say. The type and the limits of a field are in model/config_fields.cc.
enum class Field : uint8_t {
  layers,
  hidden,
  heads,
  kv_heads,
  head_dim,
  intermediate,
  vocab,
  max_positions,
  embed_dim,  // counts
  window,
  window_from_layer,  // counts: keys a query sees; first layer that has the window
  norm_eps,           // number
  activation,         // name
  attention_bias,
  mlp_bias,  // flags: bias of q, k, v and o; of the MLP
  norm_affine,
  norm_before,
  no_final_norm,
  tied_head,
  use_window,   // flags
  layer_types,  // list of names, one per layer
};

enum class Absent : uint8_t {
  refused,  // the key must be there
  derived,  // the count follows from others (kv_heads = heads, head_dim = hidden / heads, embed_dim
            // = hidden) or is off (window)
  value,    // ConfigKey::value, the default of the published implementation
};

struct ConfigKey {
  Field field;
  std::string_view key;
  Absent absent = Absent::refused;
  int value = 0;
};

// A key that has one understood value, as JSON text. Any other value is refused.
struct FixedKey {
  std::string_view key;
  std::string_view value;
};

struct Family {
  std::string_view name;                            // "opt"
  std::span<const std::string_view> architectures;  // "OPTForCausalLM"
  std::span<const std::string_view> model_types;    // "opt"
  // Spellings of the part before the names: "model.decoder.", "decoder.".
  std::span<const std::string_view> prefixes = {};
  std::span<const NamePattern> names = {};
  std::span<const ConfigKey> keys;       // of two entries for one field the later one counts
  std::span<const FixedKey> fixed = {};  // besides those of every family
  std::span<const std::string_view> ignored = {};  // besides those of every family
  NormType norm = NormType::rms;
  float norm_eps = 0;  // 0: from the config
  PositionType positions = PositionType::rotary;
  int position_offset = 0;
  double rope_theta = 10000;  // when the config has none
  bool gated_mlp = true;
  bool qkv_bias = false;  // always, whatever the config says
  bool qk_norm = false;
};

std::span<const Family* const> families();

}  // namespace penstock
