// Mistral: Llama with a sliding window in every layer (or none).
#include "model/families/shared.h"

namespace penstock {
namespace {

constexpr std::string_view kArchitectures[] = {"MistralForCausalLM"}, kModelTypes[] = {"mistral"};

constexpr auto kKeys = keys_of(kLlamaKeys, {{Field::window, "sliding_window", Absent::derived}});

}  // namespace

constinit const Family kMistralFamily = llama_like({.name = "mistral",
                                                    .architectures = kArchitectures,
                                                    .model_types = kModelTypes,
                                                    .keys = kKeys});

}  // namespace penstock
