#include "base/error.h"
#include "model/program.h"

namespace penstock {
namespace {

// Arithmetic per value of the cheap ops; only their order of magnitude matters beside the products.
constexpr double kNormFlops = 11, kRotaryFlops = 9, kGatedFlops = 12, kEmbedFlops = 2;
constexpr double kPrepareFlops = 7, kAppendFlops = 60;

class Counter {
 public:
  Counter(const Module& module, const ModelSpec& spec, const WeightList& weights,
          const ModuleWork& work)
      : module_(module), spec_(spec), weights_(weights), work_(work) {}

  WorkCount count() {
    for (const ProgramOp& op : module_.ops) add(op);
    return count_;
  }

 private:
  double rows(Reg reg) const {
    const bool picked = reg == Reg::picked || reg == Reg::projected || reg == Reg::logits;
    return static_cast<double>(picked ? work_.head_rows : work_.tokens);
  }

  double width(Reg reg) const {
    const AttentionSpec& attention = spec_.attention;
    switch (reg) {
      case Reg::embedded:
      case Reg::projected:
        return spec_.embed_dim;
      case Reg::q:
      case Reg::attended:
        return static_cast<double>(attention.heads) * attention.head_dim;
      case Reg::k:
      case Reg::v:
        return static_cast<double>(attention.kv_heads) * attention.head_dim;
      case Reg::gate:
      case Reg::up:
        return spec_.mlp.intermediate;
      case Reg::logits:
        return spec_.vocab;
      default:
        return spec_.hidden;
    }
  }

  void add_other(double per_value, Reg reg) {
    count_.other_flops += per_value * rows(reg) * width(reg);
  }

  // An input is converted once for the products that follow each other on it.
  void add_prepare(Reg in) {
    if (in != prepared_) add_other(kPrepareFlops, in);
    prepared_ = in;
  }

  void add_gemm(const ProgramOp& op) {
    add_prepare(op.in);
    const int id = weights_.find(op.role, module_.layer);
    check(id >= 0, "a matrix of the program is in the weight list");
    const WeightInfo& weight = weights_.at(id);
    count_.gemm_flops +=
        2 * rows(op.in) * static_cast<double>(weight.rows) * static_cast<double>(weight.cols);
  }

  void add_attention() {
    const auto keys = static_cast<double>(work_.key_positions);
    count_.attention_flops += 4 * keys * width(Reg::q);
    count_.kv_read_values += keys * (width(Reg::k) + width(Reg::v));
  }

  void add(const ProgramOp& op) {
    switch (op.kind) {
      case OpKind::embed:
      case OpKind::gather:
        return add_other(kEmbedFlops, op.out);
      case OpKind::norm:
      case OpKind::head_norm:
        return add_other(kNormFlops, op.in);
      case OpKind::gemm:
        return add_gemm(op);
      case OpKind::rotary:
        return add_other(kRotaryFlops, op.in);
      case OpKind::kv_append:
        count_.kv_write_values += rows(Reg::k) * (width(Reg::k) + width(Reg::v));
        count_.other_flops += kAppendFlops * rows(Reg::k) * (width(Reg::k) + width(Reg::v));
        return;
      case OpKind::attention:
        return add_attention();
      case OpKind::attention_join:
        return;  // counted as attention
      case OpKind::gated:
        return add_other(kGatedFlops, op.in);
    }
  }

  const Module& module_;
  const ModelSpec& spec_;
  const WeightList& weights_;
  const ModuleWork& work_;
  Reg prepared_ = Reg::none;
  WorkCount count_;
};

}  // namespace

WorkCount count_work(const Module& module, const ModelSpec& spec, const WeightList& weights,
                     const ModuleWork& work) {
  return Counter(module, spec, weights, work).count();
}

}  // namespace penstock
