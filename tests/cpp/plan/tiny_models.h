// Small random models for the plan tests: every family trait that changes what is planned.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "model/config.h"
#include "plan/memory_plan.h"

namespace penstock {

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  int between(int low, int high) { return std::uniform_int_distribution(low, high)(engine_); }
  bool one_in(int n) { return between(1, n) == 1; }
  double share() { return std::uniform_real_distribution(0.0, 1.0)(engine_); }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return *(values.begin() + between(0, static_cast<int>(values.size()) - 1));
  }

 private:
  std::mt19937_64 engine_;
};

// A model and what is planned for it. Does not move: the input points into it.
struct Tiny {
  ModelConfig config;
  WeightList list;
  Program program, apart;
  PlanInput input;

  explicit Tiny(const std::string& text)
      : config(parse_config(text, "config.json")),
        list(config.spec, *config.family),
        program(make_program(config.spec, list)),
        apart(make_program(config.spec, list, AttentionForm::apart)) {
    input.spec = &config.spec;
    input.weights = &list;
    input.program = &program;
    input.apart = &apart;
    input.max_context = config.spec.max_positions;
    input.kv = kv_format("fp16");
    input.host_bytes = uint64_t{1} << 40;
    use_format("");
  }
  Tiny(const Tiny&) = delete;
  Tiny& operator=(const Tiny&) = delete;

  // Format of the matrices; "" as published.
  void use_format(const std::string& name) {
    input.formats.clear();
    for (const WeightInfo& info : list.all()) {
      const bool packed = info.kind == WeightKind::matrix && !name.empty();
      input.formats.push_back(packed ? weight_format(name) : raw_format(config.spec.dtype));
    }
  }
};

inline std::string number(int value) { return std::to_string(value); }

inline std::string opt_text(int hidden, int heads, int layers, int vocab, int embed) {
  return R"({"architectures": ["OPTForCausalLM"], "model_type": "opt", "activation_function": "relu",
    "bos_token_id": 2, "eos_token_id": 2, "do_layer_norm_before": )" +
         std::string(embed == hidden ? "true" : "false") + R"(, "ffn_dim": )" + number(4 * hidden) +
         R"(, "hidden_size": )" + number(hidden) + R"(, "max_position_embeddings": 512,
    "num_attention_heads": )" +
         number(heads) + R"(, "num_hidden_layers": )" + number(layers) +
         R"(, "tie_word_embeddings": true, "torch_dtype": "float16", "vocab_size": )" +
         number(vocab) + R"(, "word_embed_proj_dim": )" + number(embed) + "}";
}

inline std::string llama_text(int hidden, int heads, int layers, int vocab, bool tied) {
  return R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "bos_token_id": 1, "eos_token_id": 2, "intermediate_size": )" +
         number(3 * hidden + 24) + R"(, "hidden_size": )" + number(hidden) +
         R"(, "max_position_embeddings": 512,
    "num_attention_heads": )" +
         number(heads) + R"(, "num_key_value_heads": )" + number(heads / 2) +
         R"(, "num_hidden_layers": )" + number(layers) +
         R"(, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "tie_word_embeddings": )" +
         (tied ? "true" : "false") + R"(, "torch_dtype": "bfloat16",
    "vocab_size": )" +
         number(vocab) + "}";
}

inline std::unique_ptr<Tiny> random_model(Dice& dice) {
  const int heads = 2 * dice.between(1, 3), hidden = heads * 8 * dice.between(1, 6);
  const int layers = dice.between(1, 5), vocab = dice.between(50, 3000);
  auto made = dice.one_in(2)
                  ? std::make_unique<Tiny>(llama_text(hidden, heads, layers, vocab, dice.one_in(2)))
                  : std::make_unique<Tiny>(opt_text(hidden, heads, layers, vocab,
                                                    dice.one_in(3) ? hidden / 2 : hidden));
  made->use_format(dice.pick<std::string>({"", "", "int8", "int8-g64", "int4", "int4-g32"}));
  return made;
}

}  // namespace penstock
