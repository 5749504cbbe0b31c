// Every tensor a model needs, by role: what the store loads and the planner counts. No files here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model/family.h"
#include "model/spec.h"

namespace penstock {

enum class Role : uint8_t {
  token_embed,
  position_embed,
  project_in,
  attention_norm,
  q,
  k,
  v,
  o,
  q_norm,
  k_norm,
  mlp_norm,
  gate,
  up,
  down,
  final_norm,
  project_out,
  head,
};
std::string_view role_name(Role role);

enum class WeightKind : uint8_t {
  matrix,  // [rows, cols], streamed in panels, may be quantised
  table,   // [rows, cols], read row by row (embeddings), never quantised
  vector,  // [cols], always resident as fp32 (norms, biases)
};

struct WeightInfo {
  int id = -1;
  Role role = Role::q;
  bool bias = false;  // the bias belonging to the role
  int layer = -1;     // -1: not in a layer
  WeightKind kind = WeightKind::matrix;
  std::string name;  // in the checkpoint
  int64_t rows = 1, cols = 0;
};

class WeightList {
 public:
  // `exists` tells which of a family's spellings the checkpoint uses (prefix "model." or not).
  // Without it the first is taken.
  WeightList(const ModelSpec& spec, const Family& family,
             const std::function<bool(std::string_view)>& exists = nullptr);

  const std::vector<WeightInfo>& all() const { return weights_; }
  const WeightInfo& at(int id) const { return weights_.at(id); }
  // -1 when the model has no such tensor. A tied head finds the token embedding's name in a matrix
  // entry of its own.
  int find(Role role, int layer = -1, bool bias = false) const;
  int64_t parameters() const;  // a tied head counts once
  // A tied head: the name that an untied head would have. A checkpoint that has this tensor too is
  // refused by the loader unless it equals the token embedding byte for byte. Empty when the head
  // is not tied.
  const std::string& tied_twin() const { return tied_twin_; }

 private:
  std::vector<WeightInfo> weights_;
  std::vector<int> index_;  // by layer, role and bias
  std::string tied_twin_;
};

// Throws one Error(malformed) per kind of trouble, naming tensor, found shape and expected shape:
// missing, wrong shape, and tensors the model has no place for (layers or biases that the config
// does not have). `shape_of` returns an empty vector for an absent tensor.
void check_weights(const WeightList& list, const std::vector<std::string>& present,
                   const std::function<std::vector<int64_t>(const std::string&)>& shape_of,
                   const std::string& folder);

}  // namespace penstock
