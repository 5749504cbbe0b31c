// Writes small random checkpoints in the Hugging Face layout: config.json and model.safetensors.
// Values are seeded and scaled so that logits are far from uniform.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/config.h"
#include "model/weights.h"
#include "tensor/dtype.h"

namespace penstock::testing {

inline std::string tiny_llama_config(const std::string& dtype) {
  return R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":96,"intermediate_size":136,
    "num_hidden_layers":3,"num_attention_heads":6,"num_key_value_heads":2,"head_dim":16,"vocab_size":530,
    "max_position_embeddings":256,"rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":false,
    "hidden_act":"silu","torch_dtype":")" +
         dtype + R"("})";
}

inline std::string tiny_opt_config(const std::string& dtype) {
  return R"({"architectures":["OPTForCausalLM"],"model_type":"opt","hidden_size":64,"ffn_dim":144,
    "num_hidden_layers":2,"num_attention_heads":4,"vocab_size":519,"max_position_embeddings":256,
    "word_embed_proj_dim":64,"activation_function":"relu","do_layer_norm_before":true,
    "tie_word_embeddings":true,"torch_dtype":")" +
         dtype + R"("})";
}

// Every tensor of the model that `config` describes, with the values of `seed`. Returns the folder.
inline std::string write_tiny_model(const std::string& folder, const std::string& config,
                                    uint64_t seed = 1) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/config.json") << config;
  const ModelConfig model = parse_config(config, "config.json");
  const WeightList weights(model.spec, *model.family);
  const DType dtype = model.spec.dtype;
  const std::string names[] = {"F32", "F16", "BF16"};
  nlohmann::json header;
  std::vector<char> data;
  std::mt19937_64 generator(seed);
  for (const WeightInfo& info : weights.all()) {
    if (header.contains(info.name)) continue;  // a tied head
    const bool norm = info.kind == WeightKind::vector && !info.bias;
    const float spread = info.kind == WeightKind::table ? 0.8f
                         : info.kind == WeightKind::vector
                             ? 0.1f
                             : 1.6f / std::sqrt(static_cast<float>(info.cols));
    std::normal_distribution<float> normal(norm ? 1.0f : 0.0f, spread);
    const size_t begin = data.size(), count = static_cast<size_t>(info.rows * info.cols);
    data.resize(begin + count * dtype_bytes(dtype));
    for (size_t i = 0; i < count; ++i) {
      store_from_float(data.data() + begin, dtype, static_cast<int64_t>(i), normal(generator));
    }
    std::vector<int64_t> shape{info.rows, info.cols};
    if (info.kind == WeightKind::vector) shape = {info.cols};
    header[info.name] = {{"dtype", names[static_cast<int>(dtype)]},
                         {"shape", shape},
                         {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::ofstream file(folder + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file << text;
  file.write(data.data(), static_cast<std::streamsize>(data.size()));
  return folder;
}

}  // namespace penstock::testing
