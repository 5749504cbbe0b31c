// OPT, OPT-IML and Galactica. opt-350m is the one with post-norm and projections around the
// embedding.
#include "model/families/shared.h"

namespace penstock {
namespace {

constexpr std::string_view kArchitectures[] = {"OPTForCausalLM"};
constexpr std::string_view kModelTypes[] = {"opt"};
constexpr std::string_view kPrefixes[] = {"model.decoder.", "decoder."};

constexpr NamePattern kNames[] = {
    {Role::token_embed, "embed_tokens"},
    {Role::position_embed, "embed_positions"},
    {Role::project_in, "project_in"},
    {Role::attention_norm, "layers.{}.self_attn_layer_norm"},
    {Role::q, "layers.{}.self_attn.q_proj"},
    {Role::k, "layers.{}.self_attn.k_proj"},
    {Role::v, "layers.{}.self_attn.v_proj"},
    {Role::o, "layers.{}.self_attn.out_proj"},
    {Role::mlp_norm, "layers.{}.final_layer_norm"},
    {Role::up, "layers.{}.fc1"},
    {Role::down, "layers.{}.fc2"},
    {Role::final_norm, "final_layer_norm"},
    {Role::project_out, "project_out"},
    {Role::head, "/lm_head"},
};

constexpr ConfigKey kKeys[] = {
    {Field::layers, "num_hidden_layers"},
    {Field::hidden, "hidden_size"},
    {Field::heads, "num_attention_heads"},
    {Field::intermediate, "ffn_dim"},
    {Field::vocab, "vocab_size"},
    {Field::max_positions, "max_position_embeddings"},
    {Field::embed_dim, "word_embed_proj_dim", Absent::derived},
    {Field::activation, "activation_function"},
    {Field::attention_bias, "enable_bias", Absent::value, 1},
    {Field::mlp_bias, "enable_bias", Absent::value, 1},
    {Field::norm_affine, "layer_norm_elementwise_affine", Absent::value, 1},
    {Field::norm_before, "do_layer_norm_before", Absent::value, 1},
    {Field::no_final_norm, "_remove_final_layer_norm", Absent::value, 0},
    {Field::tied_head, "tie_word_embeddings", Absent::value, 1},
};

constexpr FixedKey kFixed[] = {{"learned_embeddings", "true"}, {"scale_embeddings", "false"}};

}  // namespace

constinit const Family kOptFamily = {
    .name = "opt",
    .architectures = kArchitectures,
    .model_types = kModelTypes,
    .prefixes = kPrefixes,
    .names = kNames,
    .keys = kKeys,
    .fixed = kFixed,
    .norm = NormType::layer,
    .norm_eps = 1e-5f,
    .positions = PositionType::learned,
    .position_offset = 2,
    .gated_mlp = false,
};

}  // namespace penstock
