// Llama 1 to 3.x.
#include "model/families/rows.h"

namespace penstock {
namespace {

constexpr std::string_view kArchitectures[] = {"LlamaForCausalLM"};
constexpr std::string_view kModelTypes[] = {"llama"};

constexpr ConfigKey kKeys[] = {
    {Field::layers, "num_hidden_layers"},
    {Field::hidden, "hidden_size"},
    {Field::heads, "num_attention_heads"},
    {Field::kv_heads, "num_key_value_heads", Absent::derived},
    {Field::head_dim, "head_dim", Absent::derived},
    {Field::intermediate, "intermediate_size"},
    {Field::vocab, "vocab_size"},
    {Field::max_positions, "max_position_embeddings"},
    {Field::norm_eps, "rms_norm_eps"},
    {Field::activation, "hidden_act"},
    {Field::tied_head, "tie_word_embeddings", Absent::value, 0},
    {Field::attention_bias, "attention_bias", Absent::value, 0},
    {Field::mlp_bias, "mlp_bias", Absent::value, 0},
};

}  // namespace

constinit const Family kLlamaFamily = {
    .name = "llama",
    .architectures = kArchitectures,
    .model_types = kModelTypes,
    .prefixes = kLlamaPrefixes,
    .names = kLlamaNames,
    .keys = kKeys,
};

}  // namespace penstock
