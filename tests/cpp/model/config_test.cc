#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/config_cases.h"
#include "model/weights.h"

namespace penstock {
namespace {

using testing::parsed;
using testing::small_config;

TEST(Config, Opt) {
  const ModelSpec spec = parsed(small_config("opt")).spec;
  EXPECT_EQ(spec.family, "opt");
  EXPECT_EQ(spec.layers.size(), 3u);
  EXPECT_EQ(spec.attention.heads, 6);
  EXPECT_EQ(spec.attention.kv_heads, 6);
  EXPECT_EQ(spec.attention.head_dim, 16);
  EXPECT_FLOAT_EQ(spec.attention.scale, 0.25f);
  EXPECT_TRUE(spec.attention.qkv_bias && spec.attention.out_bias && spec.mlp.bias &&
              spec.norm_bias);
  EXPECT_FALSE(spec.mlp.gated);
  EXPECT_EQ(spec.mlp.act, Activation::relu);
  EXPECT_EQ(spec.norm, NormType::layer);
  EXPECT_EQ(spec.norm_place, NormPlace::pre);
  EXPECT_TRUE(spec.final_norm && spec.tied_head && spec.norm_weight);
  EXPECT_EQ(spec.positions, PositionType::learned);
  EXPECT_EQ(spec.position_offset, 2);
  EXPECT_EQ(spec.max_positions, 64);
  EXPECT_EQ(spec.embed_dim, 96);
  EXPECT_FLOAT_EQ(spec.norm_eps, 1e-5f);
}

TEST(Config, OptVariants) {
  Json json = small_config("opt");
  json.update({{"do_layer_norm_before", false},
               {"word_embed_proj_dim", 40},
               {"activation_function", "gelu"}});
  const ModelSpec post = parsed(json).spec;
  EXPECT_EQ(post.norm_place, NormPlace::post);
  EXPECT_FALSE(post.final_norm);
  EXPECT_EQ(post.embed_dim, 40);
  EXPECT_EQ(post.mlp.act, Activation::gelu);

  json = small_config("opt");
  json.update({{"_remove_final_layer_norm", true},
               {"enable_bias", false},
               {"layer_norm_elementwise_affine", false},
               {"tie_word_embeddings", false},
               {"learned_embeddings", true},
               {"scale_embeddings", false}});
  const ModelSpec bare = parsed(json).spec;
  EXPECT_FALSE(bare.final_norm || bare.tied_head || bare.norm_weight || bare.norm_bias);
  EXPECT_FALSE(bare.attention.qkv_bias || bare.attention.out_bias || bare.mlp.bias);
}

TEST(Config, LlamaDefaultsAndOverrides) {
  Json json = small_config("llama");
  const ModelSpec spec = parsed(json).spec;
  EXPECT_EQ(spec.attention.kv_heads, 2);
  EXPECT_EQ(spec.attention.head_dim, 20);
  EXPECT_EQ(spec.rotary.rotary_dim, 20);
  EXPECT_FALSE(spec.tied_head || spec.attention.qkv_bias || spec.mlp.bias);
  EXPECT_TRUE(spec.mlp.gated && spec.final_norm && spec.norm_weight);
  EXPECT_EQ(spec.norm, NormType::rms);
  EXPECT_EQ(spec.bos, 1);
  EXPECT_EQ(spec.eos, std::vector<int32_t>{2});

  json.erase("num_key_value_heads");
  json.erase("head_dim");
  json.update({{"attention_bias", true},
               {"mlp_bias", true},
               {"eos_token_id", std::vector<int>{3, 5}},
               {"tie_word_embeddings", true}});
  const ModelSpec other = parsed(json).spec;
  EXPECT_EQ(other.attention.kv_heads, 6);
  EXPECT_EQ(other.attention.head_dim, 16);
  EXPECT_TRUE(other.attention.qkv_bias && other.attention.out_bias && other.mlp.bias &&
              other.tied_head);
  EXPECT_EQ(other.eos, (std::vector<int32_t>{3, 5}));
}

TEST(Config, QwenTraits) {
  const ModelSpec two = parsed(small_config("qwen2")).spec;
  EXPECT_TRUE(two.attention.qkv_bias);
  EXPECT_FALSE(two.attention.out_bias || two.attention.qk_norm);
  const ModelSpec three = parsed(small_config("qwen3")).spec;
  EXPECT_TRUE(three.attention.qk_norm);
  EXPECT_FALSE(three.attention.qkv_bias || three.attention.out_bias);
}

std::vector<int> windows(const Json& json) {
  std::vector<int> windows;
  for (const LayerSpec& layer : parsed(json).spec.layers) {
    EXPECT_EQ(layer.cache, layer.window > 0 ? CacheType::window : CacheType::full);
    windows.push_back(layer.window);
  }
  return windows;
}

TEST(Config, Windows) {
  Json mistral = small_config("mistral");
  EXPECT_EQ(windows(mistral), (std::vector<int>{0, 0, 0}));
  mistral["sliding_window"] = 8;
  EXPECT_EQ(windows(mistral), (std::vector<int>{8, 8, 8}));
  mistral["sliding_window"] = 64;  // the whole context
  EXPECT_EQ(windows(mistral), (std::vector<int>{0, 0, 0}));

  Json qwen = small_config("qwen2");
  qwen.update({{"sliding_window", 4096}, {"max_window_layers", 1}});
  EXPECT_EQ(windows(qwen), (std::vector<int>{0, 0, 0})) << "the switch is off";
  qwen.update({{"sliding_window", 8}, {"use_sliding_window", true}});
  EXPECT_EQ(windows(qwen), (std::vector<int>{0, 8, 8}));
  qwen["max_window_layers"] = 28;
  EXPECT_EQ(windows(qwen), (std::vector<int>{0, 0, 0}));
  qwen["layer_types"] =
      std::vector<std::string>{"sliding_attention", "full_attention", "sliding_attention"};
  EXPECT_EQ(windows(qwen), (std::vector<int>{8, 0, 8}));
}

TEST(Config, HarmlessKeysOfManyVersions) {
  Json json = small_config("llama");
  json.update(parse_strict_json(
      R"({"_name_or_path": "x", "transformers_version": "4.28.1", "use_cache": true,
    "attention_dropout": 0.0, "initializer_range": 0.02, "pretraining_tp": 1, "pad_token_id": -1, "rope_scaling": null,
    "output_attentions": false, "temperature": 0.6, "top_p": 0.9, "max_sequence_length": 2048, "is_decoder": true,
    "id2label": {"0": "A"}, "chunk_size_feed_forward": 0, "mystery": null, "pruned_heads": {}, "return_dict": true})",
      "patch"));
  EXPECT_EQ(testing::outcome_of(json.dump()).text, "accepted");
}

// Keys as published models of each family carry them.
TEST(Config, PublishedSpellings) {
  const std::pair<const char*, const char*> cases[] = {
      {"opt",
       R"({"_remove_final_layer_norm": false, "activation_dropout": 0.0, "attention_dropout": 0.0,
        "do_layer_norm_before": true, "dropout": 0.1, "init_std": 0.02, "layerdrop": 0.0, "pad_token_id": 1,
        "prefix": "</s>", "output_projection": true, "word_embed_proj_dim": 96, "torch_dtype": "float16"})"},
      {"opt", R"({"learned_embeddings": true, "scale_embeddings": false, "enable_bias": true,
        "layer_norm_elementwise_affine": true, "activation_function": "gelu"})"},
      {"llama",
       R"({"max_sequence_length": 2048, "pad_token_id": -1, "num_key_value_heads": null, "head_dim": null})"},
      {"llama", R"({"is_llama_config": true, "rope_interleaved": false, "rope_theta": 100000,
        "transformers.js_config": {"dtype": "q4"}, "unsloth_fixed": true})"},
      {"llama",
       R"({"mlp_bias": false, "attention_bias": false, "eos_token_id": [1, 2, 3], "rope_scaling": {
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3"}})"},
      {"mistral", R"({"sliding_window": 64, "rope_theta": 1e6})"},
      {"qwen2", R"({"max_window_layers": 28, "sliding_window": 131072, "use_sliding_window": false,
        "use_mrope": false, "rope_theta": 1000000.0})"},
      {"qwen2",
       R"({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}})"},
      {"qwen3", R"({"attention_bias": false, "max_window_layers": 36, "sliding_window": null,
        "use_sliding_window": false, "rope_scaling": null, "rope_theta": 1000000})"},
  };
  for (const auto& [family, patch] : cases) {
    Json json = small_config(family);
    json.update(parse_strict_json(patch, "patch"));
    EXPECT_EQ(testing::outcome_of(json.dump()).text, "accepted") << patch;
  }
}

TEST(Config, DTypes) {
  Json json = small_config("llama");
  json["torch_dtype"] = "bfloat16";
  EXPECT_EQ(parsed(json).spec.dtype, DType::bf16);
  json["dtype"] = "bfloat16";
  EXPECT_EQ(parsed(json).spec.dtype, DType::bf16);
  json.erase("torch_dtype");
  json["dtype"] = "float16";
  EXPECT_EQ(parsed(json).spec.dtype, DType::f16);
  json.erase("dtype");
  EXPECT_EQ(parsed(json).notes.size(), 1u);
}

TEST(Shapes, EveryNameParsesToItsPublishedSize) {
  const std::pair<const char*, double> sizes[] = {
      {"opt-125m", 125.2e6},      {"opt-350m", 331.2e6},      {"opt-1.3b", 1315.8e6},
      {"opt-2.7b", 2651.6e6},     {"opt-6.7b", 6658.5e6},     {"opt-13b", 12853.5e6},
      {"opt-30b", 29974.5e6},     {"opt-66b", 65717.7e6},     {"opt-175b", 174604e6},
      {"llama-7b", 6738.4e6},     {"llama-2-7b", 6738.4e6},   {"llama-2-13b", 13015.9e6},
      {"llama-2-70b", 68976.6e6}, {"llama-3.1-8b", 8030.3e6}, {"llama-3.1-70b", 70553.7e6},
      {"llama-3.2-1b", 1235.8e6}, {"llama-3.2-3b", 3212.7e6}, {"mistral-7b", 7241.7e6},
      {"qwen2-0.5b", 494.0e6},    {"qwen2-1.5b", 1543.7e6},   {"qwen2-7b", 7615.6e6},
      {"qwen3-0.6b", 596.0e6},    {"qwen3-1.7b", 1720.6e6},   {"qwen3-4b", 4022.5e6},
      {"qwen3-8b", 8190.7e6}};
  EXPECT_EQ(shape_names().size(), std::size(sizes));
  for (const auto& [name, parameters] : sizes) {
    const ModelConfig config = parse_config(shape_config(name), name);
    const WeightList weights(config.spec, *config.family);
    EXPECT_NEAR(static_cast<double>(weights.parameters()) / parameters, 1, 0.001)
        << name << " " << weights.parameters();
    EXPECT_TRUE(config.notes.empty()) << name;
  }
}

TEST(Shapes, UnknownNameListsTheKnown) {
  try {
    shape_config("opt-9000b");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_NE(std::string(error.what()).find("opt-175b, llama-7b"), std::string::npos);
  }
}

}  // namespace
}  // namespace penstock
