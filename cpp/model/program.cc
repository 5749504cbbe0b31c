#include "model/program.h"

#include <utility>

#include "base/error.h"

namespace penstock {
namespace {

class Builder {
 public:
  Builder(const ModelSpec& spec, const WeightList& weights, AttentionForm form)
      : spec_(spec), weights_(weights) {
    program_.form = form;
  }

  Program build() {
    embed();
    for (int layer = 0; layer < static_cast<int>(spec_.layers.size()); ++layer) {
      attention(layer);
      if (program_.form == AttentionForm::within) after_attention();
      begin(ModuleKind::mlp, layer);
      if (program_.form == AttentionForm::apart) {
        op({.kind = OpKind::attention_join, .in = Reg::q, .out = Reg::attended});
        after_attention();
      }
      mlp();
    }
    head();
    set_widths();
    return std::move(program_);
  }

 private:
  bool projects() const { return spec_.embed_dim != spec_.hidden; }
  bool pre_norm() const { return spec_.norm_place == NormPlace::pre; }

  void begin(ModuleKind kind, int layer) {
    program_.modules.push_back({.kind = kind, .layer = layer, .ops = {}, .matrices = {}});
  }
  Module& module() { return program_.modules.back(); }
  void op(const ProgramOp& op) { module().ops.push_back(op); }

  void gemm(const ProgramOp& gemm) {
    const int id = weights_.find(gemm.role, module().layer);
    check(id >= 0, "a matrix of the program is in the weight list");
    module().matrices.push_back(id);
    op(gemm);
  }
  void gemm(Role role, Reg in, Reg out) {
    gemm({.kind = OpKind::gemm, .role = role, .in = in, .out = out});
  }
  void add_to_hidden(Role role, Reg in) {
    gemm({.kind = OpKind::gemm,
          .role = role,
          .in = in,
          .out = Reg::hidden,
          .residual = Reg::hidden});
  }
  void norm(Role role, Reg in, Reg out) {
    op({.kind = OpKind::norm, .role = role, .in = in, .out = out});
  }
  void in_place(OpKind kind, Role role, Reg reg) {
    op({.kind = kind, .role = role, .in = reg, .out = reg});
  }

  // With a projection the position rows come first, as the residual of the projection.
  void embed() {
    begin(ModuleKind::embed, -1);
    const bool learned = spec_.positions == PositionType::learned;
    if (!projects())
      return op({.kind = OpKind::embed, .role = Role::token_embed, .out = Reg::hidden});
    if (learned) op({.kind = OpKind::embed, .role = Role::position_embed, .out = Reg::hidden});
    op({.kind = OpKind::embed, .role = Role::token_embed, .out = Reg::embedded});
    if (learned) return add_to_hidden(Role::project_in, Reg::embedded);
    gemm(Role::project_in, Reg::embedded, Reg::hidden);
  }

  void attention(int layer) {
    begin(ModuleKind::attention, layer);
    const Reg input = pre_norm() ? Reg::normed : Reg::hidden;
    if (pre_norm()) norm(Role::attention_norm, Reg::hidden, Reg::normed);
    gemm(Role::q, input, Reg::q);
    gemm(Role::k, input, Reg::k);
    gemm(Role::v, input, Reg::v);
    if (spec_.attention.qk_norm) {
      in_place(OpKind::head_norm, Role::q_norm, Reg::q);
      in_place(OpKind::head_norm, Role::k_norm, Reg::k);
    }
    if (spec_.positions == PositionType::rotary) {
      in_place(OpKind::rotary, Role::q, Reg::q);
      in_place(OpKind::rotary, Role::k, Reg::k);
    }
    op({.kind = OpKind::kv_append, .in = Reg::k});
    op({.kind = OpKind::attention, .in = Reg::q, .out = Reg::attended});
  }

  void after_attention() {
    add_to_hidden(Role::o, Reg::attended);
    if (!pre_norm()) norm(Role::attention_norm, Reg::hidden, Reg::hidden);
  }

  void mlp() {
    const Reg input = pre_norm() ? Reg::normed : Reg::hidden;
    if (pre_norm()) norm(Role::mlp_norm, Reg::hidden, Reg::normed);
    if (spec_.mlp.gated) {
      gemm(Role::gate, input, Reg::gate);
      gemm(Role::up, input, Reg::up);
      op({.kind = OpKind::gated, .in = Reg::up, .out = Reg::gate});
    } else {
      gemm({.kind = OpKind::gemm, .role = Role::up, .in = input, .out = Reg::up, .activate = true});
    }
    add_to_hidden(Role::down, spec_.mlp.gated ? Reg::gate : Reg::up);
    if (!pre_norm()) norm(Role::mlp_norm, Reg::hidden, Reg::hidden);
  }

  void head() {
    begin(ModuleKind::head, -1);
    op({.kind = OpKind::gather, .in = Reg::hidden, .out = Reg::picked});
    if (spec_.final_norm) norm(Role::final_norm, Reg::picked, Reg::picked);
    if (projects()) gemm(Role::project_out, Reg::picked, Reg::projected);
    gemm(Role::head, projects() ? Reg::projected : Reg::picked, Reg::logits);
  }

  void set(Reg reg, int64_t width) { program_.reg_width[static_cast<int>(reg)] = width; }

  void set_widths() {
    const int64_t head_dim = spec_.attention.head_dim;
    set(Reg::hidden, spec_.hidden);
    set(Reg::embedded, projects() ? spec_.embed_dim : 0);
    set(Reg::normed, pre_norm() ? spec_.hidden : 0);
    set(Reg::q, spec_.attention.heads * head_dim);
    set(Reg::k, spec_.attention.kv_heads * head_dim);
    set(Reg::v, spec_.attention.kv_heads * head_dim);
    set(Reg::attended, spec_.attention.heads * head_dim);
    set(Reg::gate, spec_.mlp.gated ? spec_.mlp.intermediate : 0);
    set(Reg::up, spec_.mlp.intermediate);
    set(Reg::picked, spec_.hidden);
    set(Reg::projected, projects() ? spec_.embed_dim : 0);
    set(Reg::logits, spec_.vocab);
  }

  const ModelSpec& spec_;
  const WeightList& weights_;
  Program program_;
};

}  // namespace

Program make_program(const ModelSpec& spec, const WeightList& weights, AttentionForm form) {
  return Builder(spec, weights, form).build();
}

}  // namespace penstock
