// The rows of families(), and what families that descend from Llama share.
#pragma once

#include "model/family.h"
#include "model/weights.h"

namespace penstock {

extern const Family kOptFamily;
extern const Family kLlamaFamily;
extern const Family kMistralFamily;
extern const Family kQwen2Family;
extern const Family kQwen3Family;

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

}  // namespace penstock
