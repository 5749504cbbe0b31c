// Qwen2 and Qwen2.5: bias on q, k and v; a window from some layer on, when it is used at all.
#include "model/families/shared.h"

namespace penstock {
namespace {

constexpr std::string_view kArchitectures[] = {"Qwen2ForCausalLM"}, kModelTypes[] = {"qwen2"};

constexpr auto kKeys = keys_of(kLlamaKeys, kSwitchedWindowKeys);

}  // namespace

constinit const Family kQwen2Family = llama_like({.name = "qwen2",
                                                  .architectures = kArchitectures,
                                                  .model_types = kModelTypes,
                                                  .keys = kKeys,
                                                  .qkv_bias = true});

}  // namespace penstock
