// Small configs that tests change key by key, and the refusal they get.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "model/config.h"

namespace penstock::testing {

inline Json small_config(std::string_view family) {
  Json json = {{"hidden_size", 96},       {"num_hidden_layers", 3}, {"num_attention_heads", 6},
               {"vocab_size", 160},       {"bos_token_id", 1},      {"eos_token_id", 2},
               {"torch_dtype", "float32"}};
  json["model_type"] = family;
  json["max_position_embeddings"] = 64;
  if (family == "opt") {
    json["architectures"] = Json::array({"OPTForCausalLM"});
    json["ffn_dim"] = 200;
    json["activation_function"] = "relu";
    return json;
  }
  std::string name(family);
  name[0] = static_cast<char>(name[0] - 'a' + 'A');
  json["architectures"] = Json::array({name + "ForCausalLM"});
  json["num_key_value_heads"] = 2;
  json["head_dim"] = 20;
  json["intermediate_size"] = 200;
  json["hidden_act"] = "silu";
  json["rms_norm_eps"] = 1e-6;
  return json;
}

struct Outcome {
  std::string text = "accepted";
  std::optional<ErrorCode> code;
  ErrorDetail detail;
};

inline Outcome outcome_of(const std::string& text) {
  try {
    parse_config(text, "m/config.json");
  } catch (const Error& error) {
    return {error.what(), error.code(), error.detail()};
  }
  return {};
}

inline ModelConfig parsed(const Json& json) { return parse_config(json.dump(), "m/config.json"); }

}  // namespace penstock::testing
