// Qwen2 and Qwen2.5: bias on q, k and v; a window from some layer on, when it is used at all.
#include "model/families/rows.h"

namespace penstock {
namespace {

constexpr std::string_view kArchitectures[] = {"Qwen2ForCausalLM"};
constexpr std::string_view kModelTypes[] = {"qwen2"};

constexpr ConfigKey kKeys[] = {
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
    {Field::use_window, "use_sliding_window", Absent::value, 0},
    {Field::window, "sliding_window", Absent::derived},
    {Field::window_from_layer, "max_window_layers", Absent::derived},
    {Field::layer_types, "layer_types", Absent::derived},
};

}  // namespace

constinit const Family kQwen2Family = {
    .name = "qwen2",
    .architectures = kArchitectures,
    .model_types = kModelTypes,
    .prefixes = kLlamaPrefixes,
    .names = kLlamaNames,
    .keys = kKeys,
    .qkv_bias = true,
};

}  // namespace penstock
