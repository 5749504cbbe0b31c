#include "model/config_keys.h"

#include <algorithm>

namespace penstock {
namespace {

// Read by parse_config() for every family.
constexpr std::string_view kCommon[] = {"architectures", "model_type",   "torch_dtype",
                                        "dtype",         "bos_token_id", "eos_token_id"};
constexpr std::string_view kRotary[] = {"rope_theta", "rope_scaling", "rope_parameters",
                                        "original_max_position_embeddings"};
constexpr std::string_view kCode[] = {"auto_map", "custom_pipelines", "custom_pipeline"};

// Keys that leave the logits alone: training, classification heads, generation defaults (they are
// read from generation_config.json), what a call returns, and who wrote the file.
constexpr std::string_view kIgnored[] = {
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_commit_hash",
    "_flash_attn_2_enabled",
    "_name_or_path",
    "activation_dropout",
    "attention_dropout",
    "attn_implementation",
    "attn_pdrop",
    "bad_words_ids",
    "begin_suppress_tokens",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cls_token_id",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "init_std",
    "initializer_range",
    "is_decoder",
    "is_llama_config",
    "label2id",
    "layerdrop",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "max_sequence_length",
    "min_length",
    "name_or_path",
    "neftune_noise_alpha",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_projection",
    "output_scores",
    "pad_token_id",
    "prefix",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_last_hidden_states",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
};

constexpr FixedKey kFixed[] = {
    {"add_cross_attention", "false"}, {"is_encoder_decoder", "false"},
    {"partial_rotary_factor", "1"},   {"pretraining_tp", "1"},
    {"pruned_heads", "{}"},           {"rope_interleaved", "false"},
    {"tie_encoder_decoder", "false"}, {"use_mrope", "false"},
};

template <class Range>
bool contains(const Range& range, std::string_view key) {
  return std::find(std::begin(range), std::end(range), key) != std::end(range);
}

bool is_field(const Family& family, std::string_view key) {
  return std::any_of(family.keys.begin(), family.keys.end(),
                     [&](const ConfigKey& row) { return row.key == key; });
}

bool is_understood(const Family& family, std::string_view key) {
  if (family.positions == PositionType::rotary && contains(kRotary, key)) return true;
  return is_field(family, key) || contains(kCommon, key) || contains(kCode, key) ||
         contains(kIgnored, key) || contains(family.ignored, key);
}

const FixedKey* fixed_key(const Family& family, std::string_view key) {
  const auto named = [&](const FixedKey& fixed) { return fixed.key == key; };
  const auto own = std::find_if(family.fixed.begin(), family.fixed.end(), named);
  if (own != family.fixed.end()) return &*own;
  const auto shared = std::find_if(std::begin(kFixed), std::end(kFixed), named);
  return shared == std::end(kFixed) ? nullptr : shared;
}

std::string supported() {
  std::string text;
  for (const Family* family : families()) {
    for (const std::string_view name : family->architectures) {
      text += (text.empty() ? "" : ", ") + std::string(name);
    }
    for (const std::string_view name : family->model_types) text += " (" + std::string(name) + ")";
  }
  return text;
}

const Family* family_with(std::span<const std::string_view> Family::* list, std::string_view name) {
  for (const Family* family : families()) {
    if (contains(family->*list, name)) return family;
  }
  return nullptr;
}

const Family* by_architecture(const ConfigObject& root) {
  const auto names = root.texts("architectures");
  if (!names) return nullptr;
  if (names->size() != 1) {
    root.refuse(ErrorCode::malformed, "architectures", "must name one architecture", supported());
  }
  const Family* family = family_with(&Family::architectures, names->front());
  if (family == nullptr) {
    root.refuse(ErrorCode::unsupported, "architectures", "is not supported", supported());
  }
  return family;
}

const Family* by_model_type(const ConfigObject& root) {
  const auto name = root.text("model_type");
  if (!name) return nullptr;
  const Family* family = family_with(&Family::model_types, *name);
  if (family == nullptr) {
    root.refuse(ErrorCode::unsupported, "model_type", "is not supported", supported());
  }
  return family;
}

void refuse_quantised(const ConfigObject& root) {
  for (const std::string_view key : {"quantization_config", "compression_config"}) {
    if (!root.has(key)) continue;
    root.refuse(ErrorCode::unsupported, key,
                "checkpoints that are already quantised are not supported",
                "a checkpoint in fp32, fp16 or bf16");
  }
}

}  // namespace

const Family& pick_family(const ConfigObject& root) {
  const Family* architecture = by_architecture(root);
  const Family* type = by_model_type(root);
  if (architecture == nullptr && type == nullptr) {
    root.refuse(ErrorCode::unsupported, "architectures",
                "neither architectures nor model_type is given", supported());
  }
  if (architecture != nullptr && type != nullptr && architecture != type) {
    root.refuse(ErrorCode::malformed, "model_type", "disagrees with architectures",
                architecture->model_types.front());
  }
  return architecture != nullptr ? *architecture : *type;
}

void refuse_unknown_keys(const ConfigObject& root, const Family& family) {
  refuse_quantised(root);
  std::vector<std::string> unknown;
  for (const auto& [key, value] : root.json().items()) {
    if (value.is_null() || is_understood(family, key)) continue;
    const FixedKey* fixed = fixed_key(family, key);
    if (fixed == nullptr) {
      unknown.push_back(key);
    } else if (value != parse_strict_json(fixed->value, "a fixed key")) {
      root.refuse(ErrorCode::unsupported, key, "has a value that is not supported", fixed->value);
    }
  }
  if (unknown.empty()) return;
  std::string list;
  for (const std::string& key : unknown)
    list += (list.empty() ? "" : ", ") + escape_for_message(key);
  root.refuse(ErrorCode::unsupported, unknown.front(),
              "unknown keys, which may change what the model computes: " + list, "");
}

std::vector<std::string> ignored_code(const ConfigObject& root) {
  std::vector<std::string> keys;
  for (const std::string_view key : kCode) {
    if (root.has(key))
      keys.push_back(std::string(key) + " is ignored: code from a model folder is never run");
  }
  return keys;
}

}  // namespace penstock
