// Every row of the list of hostile config.json files, by id.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "model/config_cases.h"
#include "model/weights.h"

namespace penstock {
namespace {

using testing::outcome_of;
using testing::small_config;

struct Case {
  const char* id;
  const char* family;
  const char* patch;  // merged into the small config; null removes a key
  ErrorCode code;
  const char* field;
  const char* part;  // of the message
};

constexpr ErrorCode kBad = ErrorCode::malformed, kUnsupported = ErrorCode::unsupported;

constexpr Case kCases[] = {
    {"CF02", "llama", R"({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"})",
     kUnsupported, "/architectures",
     "OPTForCausalLM (opt), LlamaForCausalLM (llama), MistralForCausalLM"},
    {"CF02", "llama", R"({"architectures": null, "model_type": "mamba"})", kUnsupported,
     "/model_type", "mamba"},
    {"CF02", "llama", R"({"architectures": null, "model_type": null})", kUnsupported,
     "/architectures", "neither"},
    {"CF02", "llama", R"({"model_type": "mistral"})", kBad, "/model_type", "disagrees"},
    {"CF02", "llama", R"({"architectures": []})", kBad, "/architectures", "one architecture"},
    {"CF02", "llama", R"({"architectures": ["LlamaForCausalLM", "OPTForCausalLM"]})", kBad,
     "/architectures", "one"},
    {"CF02", "llama", R"({"architectures": "LlamaForCausalLM"})", kBad, "/architectures",
     "list of strings"},
    {"CF02", "llama", R"({"architectures": ["LlamaModel"]})", kUnsupported, "/architectures",
     "LlamaModel"},
    {"CF02", "llama", R"({"architectures": ["x\u001b[2J"]})", kUnsupported, "/architectures",
     "x\\u001b"},

    {"CF03", "llama", R"({"num_hidden_layers": null})", kBad, "/num_hidden_layers", "missing"},
    {"CF03", "llama", R"({"num_hidden_layers": 0})", kBad, "/num_hidden_layers", "out of range"},
    {"CF03", "llama", R"({"num_hidden_layers": -3})", kBad, "/num_hidden_layers", "out of range"},
    {"CF03", "llama", R"({"num_hidden_layers": 3.0})", kBad, "/num_hidden_layers",
     "not an integer"},
    {"CF03", "llama", R"({"num_hidden_layers": "3"})", kBad, "/num_hidden_layers",
     "not an integer"},
    {"CF03", "llama", R"({"num_hidden_layers": true})", kBad, "/num_hidden_layers",
     "not an integer"},
    {"CF03", "llama", R"({"num_hidden_layers": 5000})", kBad, "/num_hidden_layers", "1 to 4096"},
    {"CF03", "llama", R"({"num_hidden_layers": 18446744073709551615})", kBad, "/num_hidden_layers",
     "out of range"},
    {"CF03", "llama", R"({"num_attention_heads": null})", kBad, "/num_attention_heads", "missing"},
    {"CF03", "llama", R"({"num_attention_heads": 0})", kBad, "/num_attention_heads",
     "out of range"},
    {"CF03", "llama", R"({"num_attention_heads": 1000000})", kBad, "/num_attention_heads",
     "out of range"},
    {"CF03", "llama", R"({"num_key_value_heads": 0})", kBad, "/num_key_value_heads",
     "out of range"},
    {"CF03", "llama", R"({"num_key_value_heads": [2]})", kBad, "/num_key_value_heads",
     "not an integer"},
    {"CF03", "mistral", R"({"num_key_value_heads": null})", kBad, "/num_key_value_heads",
     "missing"},
    {"CF03", "qwen2", R"({"num_key_value_heads": null})", kBad, "/num_key_value_heads", "missing"},
    {"CF03", "qwen3", R"({"head_dim": null})", kBad, "/head_dim", "missing"},
    {"CF03", "llama", R"({"hidden_size": null})", kBad, "/hidden_size", "missing"},
    {"CF03", "llama", R"({"hidden_size": -96})", kBad, "/hidden_size", "out of range"},
    {"CF03", "llama", R"({"hidden_size": 4294967296})", kBad, "/hidden_size", "out of range"},
    {"CF03", "llama", R"({"intermediate_size": null})", kBad, "/intermediate_size", "missing"},
    {"CF03", "llama", R"({"intermediate_size": 0})", kBad, "/intermediate_size", "out of range"},
    {"CF03", "opt", R"({"ffn_dim": 1e3})", kBad, "/ffn_dim", "not an integer"},
    {"CF03", "llama", R"({"vocab_size": null})", kBad, "/vocab_size", "missing"},
    {"CF03", "llama", R"({"vocab_size": 16777217})", kBad, "/vocab_size", "out of range"},
    {"CF03", "llama", R"({"max_position_embeddings": null})", kBad, "/max_position_embeddings",
     "missing"},
    {"CF03", "llama", R"({"max_position_embeddings": 0})", kBad, "/max_position_embeddings",
     "out of range"},
    {"CF03", "opt", R"({"word_embed_proj_dim": 0})", kBad, "/word_embed_proj_dim", "out of range"},
    {"CF03", "llama", R"({"head_dim": 0})", kBad, "/head_dim", "out of range"},

    {"CF04", "llama", R"({"head_dim": null, "hidden_size": 97})", kBad, "/hidden_size", "multiple"},
    {"CF04", "opt", R"({"hidden_size": 97})", kBad, "/hidden_size", "multiple"},
    {"CF04", "llama", R"({"num_key_value_heads": 4})", kBad, "/num_key_value_heads", "divide"},
    {"CF04", "llama", R"({"num_key_value_heads": 12})", kBad, "/num_key_value_heads", "divide"},
    {"CF04", "llama",
     R"({"head_dim": null, "hidden_size": 16384, "num_attention_heads": 1,
         "num_key_value_heads": 1})",
     kBad, "/hidden_size", "too wide"},
    {"CF04", "llama", R"({"head_dim": 21})", kBad, "/head_dim", "odd rotary width"},
    {"CF04", "llama", R"({"head_dim": null, "hidden_size": 90})", kBad, "/hidden_size",
     "odd rotary width"},
    {"CF04", "llama", R"({"partial_rotary_factor": 1.5})", kUnsupported, "/partial_rotary_factor",
     "1"},
    {"CF04", "llama", R"({"partial_rotary_factor": 0.5})", kUnsupported, "/partial_rotary_factor",
     "1"},
    {"CF04", "llama",
     R"({"num_attention_heads": 16384, "num_key_value_heads": 1, "head_dim": 4096})", kBad,
     "/num_attention_heads", "too large"},

    {"CF05", "llama", R"({"rms_norm_eps": 0})", kBad, "/rms_norm_eps", "out of range"},
    {"CF05", "llama", R"({"rms_norm_eps": -1e-6})", kBad, "/rms_norm_eps", "out of range"},
    {"CF05", "llama", R"({"rms_norm_eps": 0.2})", kBad, "/rms_norm_eps", "out of range"},
    {"CF05", "llama", R"({"rms_norm_eps": "1e-6"})", kBad, "/rms_norm_eps", "not a number"},
    {"CF05", "llama", R"({"rms_norm_eps": null})", kBad, "/rms_norm_eps", "missing"},

    {"CF06", "llama", R"({"rope_theta": 0})", kBad, "/rope_theta", "out of range"},
    {"CF06", "llama", R"({"rope_theta": -10000.0})", kBad, "/rope_theta", "out of range"},
    {"CF06", "llama", R"({"rope_theta": "1e4"})", kBad, "/rope_theta", "not a number"},
    {"CF06", "llama", R"({"rope_scaling": {"type": "su", "factor": 2.0}})", kUnsupported,
     "/rope_scaling/type", "default, linear, dynamic, yarn, longrope, llama3"},
    {"CF06", "llama", R"({"rope_scaling": {"factor": 2.0}})", kBad, "/rope_scaling/rope_type",
     "missing"},
    {"CF06", "llama", R"({"rope_scaling": [2.0]})", kBad, "/rope_scaling", "not an object"},
    {"CF06", "llama", R"({"rope_scaling": {"type": "linear"}})", kBad, "/rope_scaling/factor",
     "missing"},
    {"CF06", "llama", R"({"rope_scaling": {"type": "linear", "factor": 0.5}})", kBad,
     "/rope_scaling/factor", "range"},
    {"CF06", "llama", R"({"rope_scaling": {"type": "dynamic", "factor": -1}})", kBad,
     "/rope_scaling/factor", "range"},
    {"CF06", "llama", R"({"rope_scaling": {"type": "linear", "factor": "2"}})", kBad,
     "/rope_scaling/factor", "number"},
    {"CF06", "llama", R"({"rope_scaling": {"type": "linear", "rope_type": "yarn", "factor": 2}})",
     kBad, "/rope_scaling/type", "disagrees"},
    {"CF06", "llama", R"({"rope_scaling": {"type": "linear", "factor": 2, "mystery": 1}})",
     kUnsupported, "/rope_scaling/mystery", "not understood"},
    {"CF06", "llama",
     R"({"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"rope_type": "default"}})",
     kBad, "/rope_scaling", "disagrees with rope_parameters"},
    {"CF06", "llama",
     R"({"rope_theta": 5e5, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}})", kBad,
     "/rope_theta", "twice"},
    {"CF06", "llama", R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})", kBad,
     "/rope_parameters/rope_type", "missing"},
    {"CF06", "llama", R"({"rope_parameters": {"rope_type": "default", "mrope_section": [1]}})",
     kUnsupported, "/rope_parameters/mrope_section", "not understood"},
    {"CF06", "llama",
     R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}})", kUnsupported,
     "/rope_parameters/partial_rotary_factor", "not supported"},
    {"CF06", "llama",
     R"({"rope_scaling": {"type": "longrope", "original_max_position_embeddings": 32,
      "short_factor": [1, 1, 1], "long_factor": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}})",
     kBad, "/rope_scaling/short_factor", "10 factors"},
    {"CF06", "llama",
     R"({"rope_scaling": {"type": "longrope", "original_max_position_embeddings": 32,
      "short_factor": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], "long_factor": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]}})",
     kBad, "/rope_scaling/long_factor", "out of range"},
    {"CF06", "llama",
     R"({"rope_scaling": {"type": "longrope", "original_max_position_embeddings": 32,
      "short_factor": [1, 1, 1, 1, 1, 1, 1, 1, 1, "1"], "long_factor": []}})",
     kBad, "/rope_scaling/short_factor", "not a number"},
    {"CF06", "llama",
     R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1}})",
     kBad, "/rope_scaling/high_freq_factor", "not above"},
    {"CF06", "llama", R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 1}})",
     kBad, "/rope_scaling/high_freq_factor", "missing"},
    {"CF06", "llama",
     R"({"rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": 1, "beta_slow": 32}})", kBad,
     "/rope_scaling/beta_fast", "below"},
    {"CF06", "llama",
     R"({"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 1.5}})",
     kBad, "/rope_scaling/original_max_position_embeddings", "integer"},
    {"CF06", "llama", R"({"original_max_position_embeddings": 16,
      "rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 32}})",
     kBad, "/original_max_position_embeddings", "twice"},
    {"CF06", "opt", R"({"rope_theta": 10000.0})", kUnsupported, "/rope_theta", "unknown keys"},

    {"CF07", "llama", R"({"hidden_act": "mish"})", kUnsupported, "/hidden_act", "relu, gelu"},
    {"CF07", "llama", R"({"hidden_act": null})", kBad, "/hidden_act", "missing"},
    {"CF07", "llama", R"({"hidden_act": 3})", kBad, "/hidden_act", "not a string"},
    {"CF07", "opt", R"({"activation_function": "RELU"})", kUnsupported, "/activation_function",
     "supported"},
    {"CF07", "llama", R"({"torch_dtype": "float64"})", kUnsupported, "/torch_dtype",
     "float32, float16, bfloat16"},
    {"CF07", "llama", R"({"torch_dtype": null, "dtype": "float8_e4m3fn"})", kUnsupported, "/dtype",
     "bfloat16"},
    {"CF07", "llama", R"({"dtype": "bfloat16"})", kBad, "/torch_dtype", "disagrees with dtype"},
    {"CF07", "llama", R"({"attention_multiplier": 0.5})", kUnsupported, "/attention_multiplier",
     "unknown keys"},
    {"CF07", "llama", R"({"zz": 1, "logit_scale": 2, "clip_qkv": 8})", kUnsupported, "/clip_qkv",
     "clip_qkv, logit_scale, zz"},
    {"CF07", "llama", R"({"pretraining_tp": 2})", kUnsupported, "/pretraining_tp", "allowed 1"},
    {"CF07", "llama", R"({"is_encoder_decoder": true})", kUnsupported, "/is_encoder_decoder",
     "allowed false"},
    {"CF07", "llama", R"({"pruned_heads": {"0": [1]}})", kUnsupported, "/pruned_heads",
     "not supported"},
    {"CF07", "opt", R"({"do_layer_norm_before": "yes"})", kBad, "/do_layer_norm_before",
     "not a boolean"},
    {"CF07", "opt", R"({"scale_embeddings": true})", kUnsupported, "/scale_embeddings",
     "allowed false"},
    {"CF07", "opt", R"({"learned_embeddings": false})", kUnsupported, "/learned_embeddings",
     "allowed true"},
    {"CF07", "opt", R"({"num_key_value_heads": 2})", kUnsupported, "/num_key_value_heads",
     "unknown keys"},
    {"CF07", "mistral", R"({"attention_bias": true})", kUnsupported, "/attention_bias",
     "unknown keys"},

    {"CF08", "llama", R"({"tie_word_embeddings": 1})", kBad, "/tie_word_embeddings",
     "not a boolean"},

    {"CF10", "llama", R"({"num_local_experts": 8, "num_experts_per_tok": 2})", kUnsupported,
     "/num_experts_per_tok", "num_experts_per_tok, num_local_experts"},
    {"CF10", "llama", R"({"num_local_experts": 0})", kUnsupported, "/num_local_experts",
     "unknown keys"},
    {"CF10", "qwen2", R"({"layer_types": ["full_attention"]})", kBad, "/layer_types", "3 entries"},
    {"CF10", "qwen3",
     R"({"layer_types": ["full_attention", "full_attention", "chunked_attention"]})", kUnsupported,
     "/layer_types", "sliding_attention"},
    {"CF10", "qwen3", R"({"layer_types": ["full_attention", "full_attention", 3]})", kBad,
     "/layer_types", "list of strings"},

    {"CF11", "mistral", R"({"sliding_window": 0})", kBad, "/sliding_window", "out of range"},
    {"CF11", "mistral", R"({"sliding_window": -1})", kBad, "/sliding_window", "out of range"},
    {"CF11", "mistral", R"({"sliding_window": 65})", kBad, "/sliding_window",
     "larger than the context"},
    {"CF11", "mistral", R"({"sliding_window": "8"})", kBad, "/sliding_window", "not an integer"},
    {"CF11", "qwen2", R"({"use_sliding_window": true, "max_window_layers": 1})", kBad,
     "/sliding_window", "is used"},
    {"CF11", "qwen2", R"({"use_sliding_window": true, "sliding_window": 8})", kBad,
     "/max_window_layers", "is used"},
    {"CF11", "qwen2",
     R"({"layer_types": ["full_attention", "sliding_attention", "full_attention"]})", kBad,
     "/layer_types", "window that is off"},
    {"CF11", "llama", R"({"sliding_window": 8})", kUnsupported, "/sliding_window", "unknown keys"},
    {"CF11", "llama", R"({"eos_token_id": 160})", kBad, "/eos_token_id", "out of range"},
    {"CF11", "llama", R"({"eos_token_id": -1})", kBad, "/eos_token_id", "out of range"},
    {"CF11", "llama", R"({"eos_token_id": "2"})", kBad, "/eos_token_id", "not an integer"},
    {"CF11", "llama", R"({"eos_token_id": [2, 160]})", kBad, "/eos_token_id", "not a token id"},
    {"CF11", "llama", R"({"eos_token_id": [2, [3]]})", kBad, "/eos_token_id", "not a token id"},
    {"CF11", "llama", R"({"bos_token_id": 160})", kBad, "/bos_token_id", "out of range"},
    {"CF11", "llama", R"({"bos_token_id": [1]})", kBad, "/bos_token_id", "not an integer"},

    {"CF12", "llama", R"({"quantization_config": {"quant_method": "gptq", "bits": 4}})",
     kUnsupported, "/quantization_config", "already quantised"},
    {"CF12", "llama", R"({"quantization_config": 7})", kUnsupported, "/quantization_config",
     "already quantised"},
};

TEST(HostileConfig, EveryChangedKeyIsRefusedWithItsReason) {
  for (const Case& bad : kCases) {
    Json json = small_config(bad.family);
    json.update(parse_strict_json(bad.patch, "patch"));
    const auto outcome = outcome_of(json.dump());
    const std::string where = std::string(bad.id) + " " + bad.patch + " -> " + outcome.text;
    ASSERT_TRUE(outcome.code.has_value()) << where;
    EXPECT_EQ(*outcome.code, bad.code) << where;
    EXPECT_EQ(outcome.detail.file, "m/config.json") << where;
    EXPECT_EQ(outcome.detail.field, bad.field) << where;
    EXPECT_NE(outcome.text.find(bad.part), std::string::npos) << where;
  }
}

// CF01
TEST(HostileConfig, TheFileItself) {
  const std::string good = small_config("llama").dump();
  EXPECT_EQ(outcome_of(good).text, "accepted");
  const std::string doubled = good.substr(0, good.size() - 1) + ",\"hidden_size\": 96}";
  const std::string padded = good + std::string((1 << 20) + 1 - good.size(), ' ');
  const std::pair<std::string, std::string> cases[] = {{"", "empty"},
                                                       {"[]", "not a JSON object"},
                                                       {"null", "not a JSON object"},
                                                       {"\"x\"", "not a JSON"},
                                                       {doubled, "'hidden_size' appears"},
                                                       {padded, "too large"},
                                                       {good + "}", "not valid"}};
  for (const auto& [text, part] : cases) {
    const auto outcome = outcome_of(text);
    ASSERT_TRUE(outcome.code.has_value()) << part;
    EXPECT_EQ(*outcome.code, ErrorCode::malformed);
    EXPECT_NE(outcome.text.find(part), std::string::npos) << outcome.text;
  }
  EXPECT_EQ(outcome_of(padded.substr(0, 1 << 20)).text, "accepted");
}

// CF05, CF06: JSON has no NaN and no infinity; a number that overflows is not one either.
TEST(HostileConfig, NotANumber) {
  for (const char* key : {"rms_norm_eps", "rope_theta"}) {
    for (const char* value : {"NaN", "Infinity", "-Infinity", "1e999"}) {
      std::string text = small_config("llama").dump();
      text.pop_back();
      if (std::string(key) == "rms_norm_eps")
        text.replace(text.find("rms_norm_eps"), 12, "use_cache");
      const auto outcome = outcome_of(text + ",\"" + key + "\":" + value + "}");
      ASSERT_TRUE(outcome.code.has_value()) << key << value;
      EXPECT_EQ(*outcome.code, ErrorCode::malformed);
      EXPECT_NE(outcome.text.find("not valid JSON"), std::string::npos) << outcome.text;
    }
  }
}

// CF13
TEST(HostileConfig, CodeIsIgnoredAndSaidSo) {
  Json json = small_config("llama");
  EXPECT_TRUE(testing::parsed(json).notes.empty());
  json["auto_map"] = {{"AutoModelForCausalLM", "evil.Model"}};
  json["custom_pipelines"] = Json::object();
  const auto notes = testing::parsed(json).notes;
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_EQ(notes[0], "auto_map is ignored: code from a model folder is never run");
}

// CF14: sizes at their caps multiply without overflow or are refused; the plan names the sum.
TEST(HostileConfig, ProductsAtTheCaps) {
  Json json = small_config("llama");
  json.update({{"num_hidden_layers", 4096},
               {"num_attention_heads", 1024},
               {"num_key_value_heads", 1024},
               {"head_dim", 4096},
               {"hidden_size", 1 << 20},
               {"intermediate_size", 1 << 22},
               {"vocab_size", 1 << 24},
               {"max_position_embeddings", 1 << 24}});
  const ModelConfig config = testing::parsed(json);
  const WeightList weights(config.spec, *config.family);
  EXPECT_GT(weights.parameters(), int64_t{1} << 55);
}

// Nothing crashes on damaged text: every outcome is a spec or a typed error with the file.
TEST(HostileConfig, DamagedText) {
  uint64_t state = 12345;
  const auto next = [&] {
    return (state = state * 6364136223846793005u + 1442695040888963407u) >> 33;
  };
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = small_config(round % 2 == 0 ? "opt" : "qwen3").dump();
    for (uint64_t edits = 1 + next() % 3; edits > 0; --edits) {
      const size_t at = next() % text.size();
      if (next() % 2 == 0)
        text[at] = static_cast<char>(next());
      else
        text.erase(at, 1 + next() % 4);
    }
    const auto outcome = outcome_of(text);
    refused += outcome.code.has_value();
    if (outcome.code) {
      EXPECT_TRUE(*outcome.code == ErrorCode::malformed || *outcome.code == ErrorCode::unsupported)
          << outcome.text;
    }
  }
  EXPECT_GT(refused, 15000);
}

}  // namespace
}  // namespace penstock
