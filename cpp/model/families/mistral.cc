// Mistral: Llama with a sliding window in every layer (or none).
#include "model/families/rows.h"

namespace penstock {
namespace {

constexpr std::string_view kArchitectures[] = {"MistralForCausalLM"};
constexpr std::string_view kModelTypes[] = {"mistral"};

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
    {Field::window, "sliding_window", Absent::derived},
};

}  // namespace

constinit const Family kMistralFamily = {
    .name = "mistral",
    .architectures = kArchitectures,
    .model_types = kModelTypes,
    .prefixes = kLlamaPrefixes,
    .names = kLlamaNames,
    .keys = kKeys,
};

}  // namespace penstock
