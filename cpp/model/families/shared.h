// The families, and what those that descend from Llama share.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "model/family.h"
#include "model/weights.h"

namespace penstock {

extern const Family kOptFamily;
extern const Family kLlamaFamily;
extern const Family kMistralFamily;
extern const Family kQwen2Family;
extern const Family kQwen3Family;

// One list of keys after the other. An entry of a later list replaces an earlier one of its field.
template <size_t... kSizes>
constexpr auto keys_of(const ConfigKey (&... lists)[kSizes]) {
  std::array<ConfigKey, (kSizes + ...)> all;
  auto end = all.begin();
  ((end = std::copy(std::begin(lists), std::end(lists), end)), ...);
  return all;
}

inline constexpr ConfigKey kLlamaKeys[] = {
    {Field::layers, "num_hidden_layers"},
    {Field::hidden, "hidden_size"},
    {Field::heads, "num_attention_heads"},
    {Field::kv_heads, "num_key_value_heads"},
    {Field::head_dim, "head_dim", Absent::derived},
    {Field::intermediate, "intermediate_size"},
    {Field::vocab, "vocab_size"},
    {Field::max_positions, "max_position_embeddings"},
    {Field::norm_eps, "rms_norm_eps"},
    {Field::activation, "hidden_act"},
    {Field::tied_head, "tie_word_embeddings", Absent::value, 0},
};

// A window in some of the layers, when it is used at all.
inline constexpr ConfigKey kSwitchedWindowKeys[] = {
    {Field::use_window, "use_sliding_window", Absent::value, 0},
    {Field::window, "sliding_window", Absent::derived},
    {Field::window_from_layer, "max_window_layers", Absent::derived},
    {Field::layer_types, "layer_types", Absent::derived},
};

inline constexpr std::string_view kLlamaPrefixes[] = {"model.", ""};

inline constexpr NamePattern kLlamaNames[] = {
    {Role::token_embed, "embed_tokens"},
    {Role::attention_norm, "layers.{}.input_layernorm"},
    {Role::q, "layers.{}.self_attn.q_proj"},
    {Role::k, "layers.{}.self_attn.k_proj"},
    {Role::v, "layers.{}.self_attn.v_proj"},
    {Role::q_norm, "layers.{}.self_attn.q_norm"},
    {Role::k_norm, "layers.{}.self_attn.k_norm"},
    {Role::o, "layers.{}.self_attn.o_proj"},
    {Role::mlp_norm, "layers.{}.post_attention_layernorm"},
    {Role::gate, "layers.{}.mlp.gate_proj"},
    {Role::up, "layers.{}.mlp.up_proj"},
    {Role::down, "layers.{}.mlp.down_proj"},
    {Role::final_norm, "norm"},
    {Role::head, "/lm_head"},
};

// `own`: name, architectures, model types, keys and the traits that differ. Tensors are named as
// Llama's are.
constexpr Family llama_like(Family own) {
  own.prefixes = kLlamaPrefixes;
  own.names = kLlamaNames;
  return own;
}

}  // namespace penstock
