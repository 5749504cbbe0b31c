#include "model/weights.h"

#include <utility>

#include "base/checked.h"
#include "base/error.h"

namespace penstock {
namespace {

constexpr int kRoles = static_cast<int>(Role::head) + 1;

std::string fill_pattern(std::string_view pattern, int layer) {
  std::string text(pattern);
  if (const size_t hole = text.find("{}"); hole != std::string::npos) {
    text.replace(hole, 2, std::to_string(layer));
  }
  return text;
}

std::string_view pattern_of(const Family& family, Role role) {
  for (const NamePattern& row : family.names) {
    if (row.role == role) return row.pattern;
  }
  throw Error(ErrorCode::internal, "family " + std::string(family.name) + " has no name for " +
                                       std::string(role_name(role)));
}

std::string name_of(const Family& family, std::string_view prefix, Role role, int layer) {
  const std::string_view pattern = pattern_of(family, role);
  if (pattern.starts_with('/')) return fill_pattern(pattern.substr(1), layer);
  return std::string(prefix) + fill_pattern(pattern, layer);
}

std::string_view pick_prefix(const Family& family,
                             const std::function<bool(std::string_view)>& exists) {
  for (const std::string_view prefix : family.prefixes) {
    if (!exists || exists(name_of(family, prefix, Role::token_embed, -1) + ".weight"))
      return prefix;
  }
  return family.prefixes.front();
}

// Appends the weights of a spec in the order in which a sweep uses them.
class Lister {
 public:
  Lister(const ModelSpec& spec, const Family& family, std::string_view prefix)
      : spec_(spec), family_(family), prefix_(prefix) {}

  std::vector<WeightInfo> list() {
    embeddings();
    for (int layer = 0; layer < static_cast<int>(spec_.layers.size()); ++layer) {
      attention(layer);
      mlp(layer);
    }
    head();
    return std::move(weights_);
  }

 private:
  void add(WeightInfo info) {
    info.id = static_cast<int>(weights_.size());
    const std::string stem = name_of(family_, prefix_, info.role, info.layer);
    info.name = stem + (info.bias ? ".bias" : ".weight");
    weights_.push_back(std::move(info));
  }

  void matrix(Role role, int layer, int64_t rows, int64_t cols) {
    add({.role = role,
         .layer = layer,
         .kind = WeightKind::matrix,
         .name = {},
         .rows = rows,
         .cols = cols});
  }
  void table(Role role, int64_t rows, int64_t cols) {
    add({.role = role, .kind = WeightKind::table, .name = {}, .rows = rows, .cols = cols});
  }
  void vector(Role role, bool bias, int layer, int64_t cols) {
    add({.role = role,
         .bias = bias,
         .layer = layer,
         .kind = WeightKind::vector,
         .name = {},
         .cols = cols});
  }
  void bias_if(bool wanted, Role role, int layer, int64_t cols) {
    if (wanted) vector(role, true, layer, cols);
  }
  void norm(Role role, int layer) {
    if (spec_.norm_weight) vector(role, false, layer, spec_.hidden);
    bias_if(spec_.norm_bias, role, layer, spec_.hidden);
  }

  void embeddings() {
    table(Role::token_embed, spec_.vocab, spec_.embed_dim);
    if (spec_.positions == PositionType::learned) {
      table(Role::position_embed, int64_t{spec_.max_positions} + spec_.position_offset,
            spec_.hidden);
    }
    if (spec_.embed_dim != spec_.hidden)
      matrix(Role::project_in, -1, spec_.hidden, spec_.embed_dim);
  }

  void attention(int layer) {
    const AttentionSpec& attention = spec_.attention;
    const int64_t q_width = int64_t{attention.heads} * attention.head_dim;
    const int64_t kv_width = int64_t{attention.kv_heads} * attention.head_dim;
    norm(Role::attention_norm, layer);
    matrix(Role::q, layer, q_width, spec_.hidden);
    bias_if(attention.qkv_bias, Role::q, layer, q_width);
    for (const Role role : {Role::k, Role::v}) {
      matrix(role, layer, kv_width, spec_.hidden);
      bias_if(attention.qkv_bias, role, layer, kv_width);
    }
    if (attention.qk_norm) {
      vector(Role::q_norm, false, layer, attention.head_dim);
      vector(Role::k_norm, false, layer, attention.head_dim);
    }
    matrix(Role::o, layer, spec_.hidden, q_width);
    bias_if(attention.out_bias, Role::o, layer, spec_.hidden);
  }

  void mlp(int layer) {
    const MlpSpec& mlp = spec_.mlp;
    norm(Role::mlp_norm, layer);
    if (mlp.gated) {
      matrix(Role::gate, layer, mlp.intermediate, spec_.hidden);
      bias_if(mlp.bias, Role::gate, layer, mlp.intermediate);
    }
    matrix(Role::up, layer, mlp.intermediate, spec_.hidden);
    bias_if(mlp.bias, Role::up, layer, mlp.intermediate);
    matrix(Role::down, layer, spec_.hidden, mlp.intermediate);
    bias_if(mlp.bias, Role::down, layer, spec_.hidden);
  }

  void head() {
    if (spec_.final_norm) norm(Role::final_norm, -1);
    if (spec_.embed_dim != spec_.hidden)
      matrix(Role::project_out, -1, spec_.embed_dim, spec_.hidden);
    matrix(Role::head, -1, spec_.vocab, spec_.embed_dim);
    if (spec_.tied_head) weights_.back().name = weights_.front().name;
  }

  const ModelSpec& spec_;
  const Family& family_;
  std::string_view prefix_;
  std::vector<WeightInfo> weights_;
};

size_t index_of(Role role, int layer, bool bias) {
  return (static_cast<size_t>(layer + 1) * kRoles + static_cast<size_t>(role)) * 2 + (bias ? 1 : 0);
}

}  // namespace

std::string_view role_name(Role role) {
  constexpr std::string_view kNames[kRoles] = {
      "token_embed", "position_embed", "project_in", "attention_norm", "q",    "k",  "v",
      "o",           "q_norm",         "k_norm",     "mlp_norm",       "gate", "up", "down",
      "final_norm",  "project_out",    "head"};
  return kNames[static_cast<int>(role)];
}

WeightList::WeightList(const ModelSpec& spec, const Family& family,
                       const std::function<bool(std::string_view)>& exists) {
  const std::string_view prefix = pick_prefix(family, exists);
  weights_ = Lister(spec, family, prefix).list();
  if (spec.tied_head) tied_twin_ = name_of(family, prefix, Role::head, -1) + ".weight";
  index_.assign((spec.layers.size() + 1) * kRoles * 2, -1);
  for (const WeightInfo& info : weights_)
    index_[index_of(info.role, info.layer, info.bias)] = info.id;
}

int WeightList::find(Role role, int layer, bool bias) const {
  const size_t index = index_of(role, layer, bias);
  return index < index_.size() ? index_[index] : -1;
}

int64_t WeightList::parameters() const {
  int64_t sum = 0;
  for (const WeightInfo& info : weights_) {
    const bool tied = info.role == Role::head && !tied_twin_.empty();
    if (!tied)
      sum = checked_add(sum, checked_mul(info.rows, info.cols, info.name), "the parameters");
  }
  return sum;
}

}  // namespace penstock
