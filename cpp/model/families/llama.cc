// Llama 1 to 3.x.
#include "model/families/shared.h"

namespace penstock {
namespace {

constexpr std::string_view kArchitectures[] = {"LlamaForCausalLM"}, kModelTypes[] = {"llama"};

constexpr auto kKeys =
    keys_of(kLlamaKeys, {{Field::kv_heads, "num_key_value_heads", Absent::derived},
                         {Field::attention_bias, "attention_bias", Absent::value, 0},
                         {Field::mlp_bias, "mlp_bias", Absent::value, 0}});

}  // namespace

constinit const Family kLlamaFamily = llama_like(
    {.name = "llama", .architectures = kArchitectures, .model_types = kModelTypes, .keys = kKeys});

}  // namespace penstock
