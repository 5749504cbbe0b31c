// Qwen3: rms norm on the heads of q and k, a head_dim of its own.
#include "model/families/shared.h"

namespace penstock {
namespace {

constexpr std::string_view kArchitectures[] = {"Qwen3ForCausalLM"}, kModelTypes[] = {"qwen3"};

constexpr auto kKeys = keys_of(
    kLlamaKeys, kSwitchedWindowKeys,
    {{Field::head_dim, "head_dim"}, {Field::attention_bias, "attention_bias", Absent::value, 0}});

}  // namespace

constinit const Family kQwen3Family = llama_like({.name = "qwen3",
                                                  .architectures = kArchitectures,
                                                  .model_types = kModelTypes,
                                                  .keys = kKeys,
                                                  .qk_norm = true});

}  // namespace penstock
