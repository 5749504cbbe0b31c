#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "model/config_fields.h"
#include "model/config_keys.h"
#include "model/rope.h"
#include "tensor/kv_layout.h"

namespace penstock {
namespace {

constexpr int64_t kMaxProjection = 1 << 22;  // heads * head_dim

constexpr std::pair<std::string_view, DType> kDTypes[] = {
    {"float32", DType::f32}, {"float16", DType::f16}, {"bfloat16", DType::bf16}};

Json parse_root(std::string_view text, const std::string& file) {
  if (text.empty()) throw Error(ErrorCode::malformed, "the file is empty", {file, "", "", ""});
  if (text.size() > kMaxConfigBytes) {
    throw Error(
        ErrorCode::malformed, "the file is too large",
        {file, "", std::to_string(text.size()) + " bytes", std::to_string(kMaxConfigBytes)});
  }
  Json root = parse_strict_json(text, file);
  if (!root.is_object())
    throw Error(ErrorCode::malformed, "is not a JSON object", {file, "", "", ""});
  return root;
}

// Builds the spec field by field; every step may refuse.
class SpecReader {
 public:
  SpecReader(const ConfigObject& root, const Family& family)
      : root_(root), family_(family), fields_(root, family) {}

  ModelConfig read() {
    config_.family = &family_;
    config_.notes = ignored_code(root_);
    spec_.family = family_.name;
    read_sizes();
    read_attention();
    read_mlp();
    read_norms();
    read_positions();
    read_layers();
    read_dtype();
    read_tokens();
    check_products();
    return std::move(config_);
  }

 private:
  void read_sizes() {
    spec_.hidden = fields_.count(Field::hidden);
    spec_.vocab = fields_.count(Field::vocab);
    spec_.max_positions = fields_.count(Field::max_positions);
    const int embed_dim = fields_.count(Field::embed_dim);
    spec_.embed_dim = embed_dim > 0 ? embed_dim : spec_.hidden;
    spec_.layers.resize(fields_.count(Field::layers));
    spec_.tied_head = fields_.flag(Field::tied_head);
  }

  void read_attention() {
    AttentionSpec& attention = spec_.attention;
    attention.heads = fields_.count(Field::heads);
    const int kv_heads = fields_.count(Field::kv_heads);
    attention.kv_heads = kv_heads > 0 ? kv_heads : attention.heads;
    if (attention.kv_heads > attention.heads || attention.heads % attention.kv_heads != 0) {
      fields_.refuse(ErrorCode::malformed, Field::kv_heads, "does not divide the number of heads",
                     "a divisor of " + std::to_string(attention.heads));
    }
    attention.head_dim = read_head_dim(attention.heads);
    attention.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(attention.head_dim)));
    attention.out_bias = fields_.flag(Field::attention_bias);
    attention.qkv_bias = attention.out_bias || family_.qkv_bias;
    attention.qk_norm = family_.qk_norm;
  }

  int read_head_dim(int heads) {
    int head_dim = fields_.count(Field::head_dim);
    if (head_dim == 0 && spec_.hidden % heads != 0) {
      fields_.refuse(ErrorCode::malformed, Field::hidden,
                     "is not a multiple of the number of heads",
                     "a multiple of " + std::to_string(heads));
    }
    if (head_dim == 0) head_dim = spec_.hidden / heads;
    if (head_dim > kMostHeadDim) {
      fields_.refuse(ErrorCode::malformed, Field::hidden, "gives heads that are too wide",
                     "up to " + std::to_string(kMostHeadDim) + " a head");
    }
    if (static_cast<int64_t>(head_dim) * heads > kMaxProjection) {
      fields_.refuse(ErrorCode::malformed, Field::heads, "times head_dim is too large",
                     "up to " + std::to_string(kMaxProjection));
    }
    return head_dim;
  }

  void read_mlp() {
    spec_.mlp.intermediate = fields_.count(Field::intermediate);
    spec_.mlp.act = fields_.activation();
    spec_.mlp.gated = family_.gated_mlp;
    spec_.mlp.bias = fields_.flag(Field::mlp_bias);
  }

  void read_norms() {
    const bool layer = family_.norm == NormType::layer;
    const bool before = !layer || fields_.flag(Field::norm_before);
    spec_.norm = family_.norm;
    spec_.norm_place = before ? NormPlace::pre : NormPlace::post;
    spec_.norm_weight = !layer || fields_.flag(Field::norm_affine);
    spec_.norm_bias = layer && spec_.norm_weight;
    spec_.norm_eps = static_cast<float>(fields_.norm_eps());
    spec_.final_norm = before && !fields_.flag(Field::no_final_norm);
  }

  void read_positions() {
    spec_.positions = family_.positions;
    spec_.position_offset = family_.position_offset;
    if (family_.positions != PositionType::rotary) return;
    if (spec_.attention.head_dim % 2 != 0) {
      const Field at = fields_.given(Field::head_dim) ? Field::head_dim : Field::hidden;
      fields_.refuse(ErrorCode::malformed, at, "gives an odd rotary width", "an even head_dim");
    }
    Rope rope =
        read_rope(root_, {spec_.attention.head_dim, spec_.max_positions, family_.rope_theta});
    spec_.rotary = std::move(rope.rotary);
    spec_.max_positions = rope.max_positions;
    config_.notes.insert(config_.notes.end(), rope.notes.begin(), rope.notes.end());
  }

  void read_layers() {
    const bool has_switch = !fields_.key(Field::use_window).empty();
    const bool on = !has_switch || fields_.flag(Field::use_window);
    const int window = on ? fields_.count(Field::window) : 0;
    if (has_switch && on && window == 0) {
      fields_.refuse(ErrorCode::malformed, Field::window, "is missing, but the window is used");
    }
    const int context = fields_.count(Field::max_positions);
    if (window > context) {
      fields_.refuse(ErrorCode::malformed, Field::window, "is larger than the context",
                     "up to " + std::to_string(context));
    }
    const std::vector<bool> windowed = windowed_layers(window);
    for (size_t i = 0; i < spec_.layers.size(); ++i) {
      // A window as long as the positions hides nothing.
      if (!windowed[i] || window >= spec_.max_positions) continue;
      spec_.layers[i].window = window;
      spec_.layers[i].cache = CacheType::window;
    }
  }

  // `layer_types` rules where it is given; else the window begins at one layer and holds to the
  // end.
  std::vector<bool> windowed_layers(int window) {
    const size_t layers = spec_.layers.size();
    std::vector<bool> windowed(layers, false);
    if (fields_.given(Field::layer_types)) return listed_layers(window);
    if (window == 0) return windowed;
    const bool has_start = !fields_.key(Field::window_from_layer).empty();
    if (has_start && !fields_.given(Field::window_from_layer)) {
      fields_.refuse(ErrorCode::malformed, Field::window_from_layer,
                     "is missing, but the window is used");
    }
    const size_t first = has_start ? fields_.count(Field::window_from_layer) : 0;
    for (size_t i = first; i < layers; ++i) windowed[i] = true;
    return windowed;
  }

  std::vector<bool> listed_layers(int window) {
    const std::vector<std::string> types = fields_.names(Field::layer_types);
    if (types.size() != spec_.layers.size()) {
      fields_.refuse(ErrorCode::malformed, Field::layer_types, "has the wrong length",
                     std::to_string(spec_.layers.size()) + " entries");
    }
    std::vector<bool> windowed;
    for (const std::string& type : types) {
      if (type != "full_attention" && type != "sliding_attention") {
        fields_.refuse(ErrorCode::unsupported, Field::layer_types,
                       "names a layer that is not supported", "full_attention, sliding_attention");
      }
      windowed.push_back(type == "sliding_attention");
      if (windowed.back() && window == 0) {
        fields_.refuse(ErrorCode::malformed, Field::layer_types, "asks for a window that is off");
      }
    }
    return windowed;
  }

  void read_dtype() {
    const auto now = root_.text("dtype"), before = root_.text("torch_dtype");
    if (now && before && *now != *before) {
      root_.refuse(ErrorCode::malformed, "torch_dtype", "disagrees with dtype", *now);
    }
    if (!now && !before) {
      config_.notes.emplace_back("config.json has no dtype: fp32 is assumed");
      return;
    }
    const std::string name = now ? *now : *before;
    for (const auto& [spelling, dtype] : kDTypes) {
      if (spelling == name) {
        spec_.dtype = dtype;
        return;
      }
    }
    root_.refuse(ErrorCode::unsupported, now ? "dtype" : "torch_dtype", "is not supported",
                 "float32, float16, bfloat16");
  }

  void read_tokens() {
    const IntegerRange ids = {0, spec_.vocab - 1};
    spec_.bos = static_cast<int32_t>(root_.integer("bos_token_id", ids).value_or(-1));
    const Json* eos = root_.find("eos_token_id");
    if (eos == nullptr) return;
    if (!eos->is_array()) {
      spec_.eos.push_back(static_cast<int32_t>(*root_.integer("eos_token_id", ids)));
      return;
    }
    for (const Json& id : eos->elements()) {
      const bool inside =
          id.is_number_unsigned() && id.get<uint64_t>() <= static_cast<uint64_t>(ids.max);
      if (!inside) {
        root_.refuse(ErrorCode::malformed, "eos_token_id", "holds something that is not a token id",
                     "0 to " + std::to_string(ids.max));
      }
      spec_.eos.push_back(id.get<int32_t>());
    }
  }

  // The largest products later code forms of these sizes, for one sequence as long as the context.
  void check_products() const {
    const AttentionSpec& attention = spec_.attention;
    const int64_t layers = static_cast<int64_t>(spec_.layers.size());
    const int64_t width = static_cast<int64_t>(attention.kv_heads) * attention.head_dim;
    const int64_t per_token = checked_mul(layers * 2, width, "the KV cache of a token");
    checked_mul(per_token, 4 * static_cast<int64_t>(spec_.max_positions),
                "the KV cache of a full context");
    const int64_t widest =
        std::max<int64_t>({spec_.mlp.intermediate, spec_.vocab, width, spec_.hidden});
    checked_mul(checked_mul(layers * 8, widest, "the size of the model"), 4 * spec_.hidden,
                "the size of the model");
  }

  const ConfigObject& root_;
  const Family& family_;
  ConfigFields fields_;
  ModelConfig config_;
  ModelSpec& spec_ = config_.spec;
};

}  // namespace

ModelConfig parse_config(std::string_view text, const std::string& file) {
  const Json json = parse_root(text, file);
  const ConfigObject root(json, "", file);
  const Family& family = pick_family(root);
  refuse_unknown_keys(root, family);
  return SpecReader(root, family).read();
}

}  // namespace penstock
