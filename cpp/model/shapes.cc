// Shapes of published models, for `dummy:NAME`: benchmarks and plans without a checkpoint.
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "model/config.h"

namespace penstock {
namespace {

struct Shape {
  std::string_view name, type, architecture, dtype;
  int hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, context;
  bool tied = false;
  double theta = 10000;
  double llama3_factor = 0;  // 0: no scaling
  double eps = 1e-5;
};

constexpr std::string_view kLlama = "LlamaForCausalLM", kQwen2 = "Qwen2ForCausalLM",
                           kQwen3 = "Qwen3ForCausalLM", kOpt = "OPTForCausalLM";

constexpr Shape opt(std::string_view name, int hidden, int layers, int heads) {
  return {name,  "opt", kOpt,       "float16", hidden, layers, heads,
          heads, 0,     4 * hidden, 50272,     2048,   true};
}

constexpr Shape kShapes[] = {
    opt("opt-125m", 768, 12, 12),
    opt("opt-350m", 1024, 24, 16),
    opt("opt-1.3b", 2048, 24, 32),
    opt("opt-2.7b", 2560, 32, 32),
    opt("opt-6.7b", 4096, 32, 32),
    opt("opt-13b", 5120, 40, 40),
    opt("opt-30b", 7168, 48, 56),
    opt("opt-66b", 9216, 64, 72),
    opt("opt-175b", 12288, 96, 96),
    {"llama-7b", "llama", kLlama, "float16", 4096, 32, 32, 32, 128, 11008, 32000, 2048, false, 1e4,
     0, 1e-6},
    {"llama-2-7b", "llama", kLlama, "float16", 4096, 32, 32, 32, 128, 11008, 32000, 4096},
    {"llama-2-13b", "llama", kLlama, "float16", 5120, 40, 40, 40, 128, 13824, 32000, 4096},
    {"llama-2-70b", "llama", kLlama, "float16", 8192, 80, 64, 8, 128, 28672, 32000, 4096},
    {"llama-3.1-8b", "llama", kLlama, "bfloat16", 4096, 32, 32, 8, 128, 14336, 128256, 131072,
     false, 5e5, 8},
    {"llama-3.1-70b", "llama", kLlama, "bfloat16", 8192, 80, 64, 8, 128, 28672, 128256, 131072,
     false, 5e5, 8},
    {"llama-3.2-1b", "llama", kLlama, "bfloat16", 2048, 16, 32, 8, 64, 8192, 128256, 131072, true,
     5e5, 32},
    {"llama-3.2-3b", "llama", kLlama, "bfloat16", 3072, 28, 24, 8, 128, 8192, 128256, 131072, true,
     5e5, 32},
    {"mistral-7b", "mistral", "MistralForCausalLM", "bfloat16", 4096, 32, 32, 8, 128, 14336, 32000,
     32768},
    {"qwen2-0.5b", "qwen2", kQwen2, "bfloat16", 896, 24, 14, 2, 64, 4864, 151936, 131072, true, 1e6,
     0, 1e-6},
    {"qwen2-1.5b", "qwen2", kQwen2, "bfloat16", 1536, 28, 12, 2, 128, 8960, 151936, 131072, true,
     1e6, 0, 1e-6},
    {"qwen2-7b", "qwen2", kQwen2, "bfloat16", 3584, 28, 28, 4, 128, 18944, 152064, 131072, false,
     1e6, 0, 1e-6},
    {"qwen3-0.6b", "qwen3", kQwen3, "bfloat16", 1024, 28, 16, 8, 128, 3072, 151936, 40960, true,
     1e6, 0, 1e-6},
    {"qwen3-1.7b", "qwen3", kQwen3, "bfloat16", 2048, 28, 16, 8, 128, 6144, 151936, 40960, true,
     1e6, 0, 1e-6},
    {"qwen3-4b", "qwen3", kQwen3, "bfloat16", 2560, 36, 32, 8, 128, 9728, 151936, 40960, true, 1e6,
     0, 1e-6},
    {"qwen3-8b", "qwen3", kQwen3, "bfloat16", 4096, 36, 32, 8, 128, 12288, 151936, 40960, false,
     1e6, 0, 1e-6},
};

Json opt_config(const Shape& shape) {
  Json json = {{"ffn_dim", shape.intermediate}, {"activation_function", "relu"}};
  const bool is_350m = shape.name == "opt-350m";
  json["do_layer_norm_before"] = !is_350m;
  json["word_embed_proj_dim"] = is_350m ? 512 : shape.hidden;
  return json;
}

Json rotary_config(const Shape& shape) {
  Json json = {{"intermediate_size", shape.intermediate},
               {"hidden_act", "silu"},
               {"num_key_value_heads", shape.kv_heads},
               {"rms_norm_eps", shape.eps},
               {"rope_theta", shape.theta},
               {"head_dim", shape.head_dim}};
  if (shape.llama3_factor > 0) {
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", shape.llama3_factor},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  }
  if (shape.type == "mistral") json["sliding_window"] = 4096;
  return json;
}

Json config_of(const Shape& shape) {
  Json json = shape.type == "opt" ? opt_config(shape) : rotary_config(shape);
  json["architectures"] = Json::array({shape.architecture});
  json["model_type"] = shape.type;
  json["torch_dtype"] = shape.dtype;
  json["hidden_size"] = shape.hidden;
  json["num_hidden_layers"] = shape.layers;
  json["num_attention_heads"] = shape.heads;
  json["vocab_size"] = shape.vocab;
  json["max_position_embeddings"] = shape.context;
  json["tie_word_embeddings"] = shape.tied;
  json["eos_token_id"] = 2;
  json["bos_token_id"] = shape.type == "opt" ? 2 : 1;
  return json;
}

}  // namespace

std::string shape_config(std::string_view name) {
  std::string names;
  for (const Shape& shape : kShapes) {
    if (shape.name == name) return config_of(shape).dump(2);
    names += (names.empty() ? "" : ", ") + std::string(shape.name);
  }
  throw Error(ErrorCode::not_found, "no shape of this name",
              {"", "", "'" + escape_for_message(name) + "'", names});
}

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

}  // namespace penstock
