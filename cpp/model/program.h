// The op list of a model: what the executor runs and what the cost model counts. One program, two
// readers. Ops work on registers: per-micro-batch activation matrices [tokens, width] in fp32. Only
// `hidden` lives from module to module.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/spec.h"
#include "model/weights.h"

namespace penstock {

enum class Reg : uint8_t {
  none,
  hidden,    // residual stream [tokens, hidden]
  embedded,  // [tokens, embed_dim], before project_in
  normed,    // [tokens, hidden]
  q,
  k,
  v,         // [tokens, heads * head_dim], [tokens, kv_heads * head_dim]
  attended,  // [tokens, heads * head_dim]
  gate,
  up,         // [tokens, intermediate]
  picked,     // [head rows, hidden]: rows whose logits are wanted
  projected,  // [head rows, embed_dim], after project_out
  logits,     // [head rows, vocab]
};
inline constexpr int kRegs = 13;

enum class OpKind : uint8_t {
  embed,           // out = table rows (+ position rows)
  gather,          // out = rows of `in` that want logits
  norm,            // out = norm(in) with weight (role)
  head_norm,       // out = per-head rms norm of in, in place
  gemm,            // out = act(in W^T + b) (+ residual)
  rotary,          // in place
  kv_append,       // q, k, v registers -> pages
  attention,       // out = attention(q, pages)
  attention_join,  // continues in `out` the attention that the host has begun
  gated,           // out = act(gate) * up
};

struct ProgramOp {
  OpKind kind = OpKind::norm;
  Role role = Role::q;  // weight of the op, if any
  Reg in = Reg::none;
  Reg out = Reg::none;
  Reg residual = Reg::none;  // gemm: added to the result
  bool activate = false;     // gemm: apply the MLP activation
};

enum class ModuleKind : uint8_t { embed, attention, mlp, head };

// The visit unit of a sweep.
struct Module {
  ModuleKind kind = ModuleKind::attention;
  int layer = -1;
  std::vector<ProgramOp> ops;
  std::vector<int> matrices;  // ids in the WeightList, in the order of use
};

// Where a layer's modules are divided. `apart`: what follows attention (output projection, a norm
// after it) begins the mlp module, so that attention may be done elsewhere between two visits; q
// and attended then live from one module to the next.
enum class AttentionForm : uint8_t { within, apart };

struct Program {
  std::vector<Module> modules;  // embed, (attention, mlp) per layer, head
  AttentionForm form = AttentionForm::within;
  int64_t reg_width[kRegs] = {};  // 0: unused by this model
};

Program make_program(const ModelSpec& spec, const WeightList& weights,
                     AttentionForm form = AttentionForm::within);

// Work of one module for one micro-batch, counted from the same ops.
struct ModuleWork {
  int64_t tokens = 0;         // rows through the matrices
  int64_t head_rows = 0;      // rows that want logits
  int64_t key_positions = 0;  // sum over tokens of keys they attend to
};
struct WorkCount {
  double gemm_flops = 0, attention_flops = 0, other_flops = 0;
  double kv_read_values = 0, kv_write_values = 0;  // K and V elements touched
};
WorkCount count_work(const Module& module, const ModelSpec& spec, const WeightList& weights,
                     const ModuleWork& work);

}  // namespace penstock
