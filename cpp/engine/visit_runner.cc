#include "engine/visit_runner.h"

#include <algorithm>

#include "base/error.h"

namespace penstock {

namespace {

Act act_of(Activation activation) {
  switch (activation) {
    case Activation::relu:
      return Act::relu;
    case Activation::gelu:
      return Act::gelu;
    case Activation::gelu_tanh:
      return Act::gelu_tanh;
    case Activation::silu:
      return Act::silu;
  }
  return Act::none;
}

}  // namespace

// State of one expansion: what to wait for, and which input is prepared at the moment.
struct VisitRunner::Call {
  const VisitBinding& binding;
  const Module& module;
  std::span<const Ticket> after;
  int64_t tag;
  Ticket last{};
  Reg prepared = Reg::none;
  InputKind prepared_kind = InputKind::f32;
  int64_t prepared_block = 0;

  const BatchBinding& batch() const { return *binding.batch; }
  int64_t tokens() const { return binding.batch->plan->tokens; }
};

Ticket VisitRunner::run(const VisitBinding& binding, std::span<const Ticket> after, int64_t tag) {
  const Module& module = parts_.program->modules.at(binding.visit->module);
  Call call{.binding = binding, .module = module, .after = after, .tag = tag};
  for (const ProgramOp& each : module.ops) op(call, each);
  return call.last;
}

void VisitRunner::submit(Call& call, const Op& op) {
  call.last = parts_.device->run(op, call.after, call.tag);
  call.after = {};
}

float* VisitRunner::reg(const Call& call, Reg reg) const {
  const int64_t row = call.batch().first_head_row;
  switch (reg) {
    case Reg::hidden:
      return call.binding.hidden;
    case Reg::picked:
      return call.binding.head->picked + row * width(reg);
    case Reg::projected:
      return call.binding.head->projected + row * width(reg);
    default:
      break;
  }
  if (float* crossing = exchanged(call, reg)) return crossing;
  return parts_.registers->at(call.module.kind, reg);
}

// Registers that cross to the host, or wait for it, are in the micro-batch's slot.
float* VisitRunner::exchanged(const Call& call, Reg reg) const {
  std::byte* slot = call.binding.exchange;
  const ExchangeLayout& layout = parts_.exchange;
  if (slot == nullptr) return nullptr;
  if (reg == Reg::k) return reinterpret_cast<float*>(slot + layout.k_offset());
  if (reg == Reg::v) return reinterpret_cast<float*>(slot + layout.v_offset());
  if (!layout.attends) return nullptr;
  if (reg == Reg::q) return reinterpret_cast<float*>(slot + layout.q_offset());
  if (reg == Reg::attended) return reinterpret_cast<float*>(slot + layout.attended_offset());
  return nullptr;
}

int64_t VisitRunner::rows(const Call& call, Reg reg) const {
  const bool head = reg == Reg::picked || reg == Reg::projected;
  return head ? call.batch().plan->head_rows() : call.tokens();
}

void VisitRunner::op(Call& call, const ProgramOp& op) {
  if (call.prepared == op.out) call.prepared = Reg::none;
  const bool head_logits = op.out == Reg::logits;
  if (call.module.kind == ModuleKind::head && !call.binding.visit->first_chunk && !head_logits)
    return;
  switch (op.kind) {
    case OpKind::embed:
      return embed(call, op);
    case OpKind::gather: {
      const auto& rows = call.batch().head_rows;
      return submit(call, GatherRowsParams{reg(call, op.in), width(op.in), rows.data(),
                                           static_cast<int64_t>(rows.size()), width(op.in),
                                           reg(call, op.out), width(op.out)});
    }
    case OpKind::norm:
    case OpKind::head_norm:
      return norm(call, op);
    case OpKind::gemm:
      return gemm(call, op);
    case OpKind::rotary:
      return rotary(call, op);
    case OpKind::kv_append:
      return append(call);
    case OpKind::attention:
      return attend(call, call.batch().layers.at(call.module.layer).attend);
    case OpKind::attention_join:
      return attend(call, call.batch().layers.at(call.module.layer).join);
    case OpKind::gated: {
      float* gate = reg(call, Reg::gate);
      return submit(call, GatedParams{gate, reg(call, Reg::up), width(Reg::gate),
                                      act_of(parts_.spec->mlp.act), call.tokens(), width(Reg::gate),
                                      reg(call, op.out), width(op.out)});
    }
  }
}

void VisitRunner::embed(Call& call, const ProgramOp& op) {
  const int table = parts_.weights->find(op.role);
  const std::byte* positions = call.binding.gathered + call.binding.gathered_positions_offset;
  const bool is_position = op.role == Role::position_embed;
  const bool adds = op.role == Role::token_embed && op.out == Reg::hidden &&
                    parts_.spec->positions == PositionType::learned;
  EmbedParams params;
  params.rows = is_position ? positions : call.binding.gathered;
  params.add = adds ? positions : nullptr;
  params.dtype = format(parts_.store->format(table)).raw;
  params.m = call.tokens();
  params.dim = width(op.out);
  params.out = reg(call, op.out);
  params.out_stride = params.dim;
  submit(call, params);
}

void VisitRunner::norm(Call& call, const ProgramOp& op) {
  const int layer = call.module.layer;
  NormParams params;
  params.kind = parts_.spec->norm == NormType::layer ? NormKind::layer : NormKind::rms;
  params.weight = parts_.store->vector(parts_.weights->find(op.role, layer));
  params.bias = parts_.store->vector(parts_.weights->find(op.role, layer, true));
  params.eps = parts_.spec->norm_eps;
  params.m = rows(call, op.in);
  params.dim = width(op.in);
  params.x = reg(call, op.in);
  params.y = reg(call, op.out);
  if (op.kind == OpKind::head_norm) {
    params.kind = NormKind::rms;
    params.dim = parts_.spec->attention.head_dim;
    params.m = call.tokens() * (width(op.in) / params.dim);
  }
  params.x_stride = params.y_stride = params.dim;
  submit(call, params);
}

GemmParams VisitRunner::bind_weight(Call& call, const ProgramOp& op) {
  const int weight = parts_.weights->find(op.role, call.module.layer);
  const auto& matrices = call.module.matrices;
  const auto found = std::find(matrices.begin(), matrices.end(), weight);
  check(found != matrices.end(), "a module lists its matrices");
  const auto& panels = call.binding.panels->at(found - matrices.begin());
  GemmParams params;
  params.panels = panels.data();
  params.panel_count = static_cast<int>(panels.size());
  params.format = parts_.store->format(weight);
  params.exact = parts_.compute == Compute::exact;
  params.invariant = parts_.invariant;
  params.k = parts_.weights->at(weight).cols;
  params.bias = parts_.store->vector(parts_.weights->find(op.role, call.module.layer, true));
  if (op.activate) params.act = act_of(parts_.spec->mlp.act);
  return params;
}

void VisitRunner::prepare(Call& call, const ProgramOp& op, GemmParams& gemm) {
  gemm.input = prepared_layout_for(format(gemm.format), gemm.k, parts_.compute,
                                   parts_.device->info().raw_inputs);
  gemm.x = parts_.registers->prepared();
  gemm.m = rows(call, op.in);
  const bool ready = call.prepared == op.in && call.prepared_kind == gemm.input.kind &&
                     call.prepared_block == gemm.input.block;
  if (ready) return;
  submit(call, PrepareParams{reg(call, op.in), width(op.in), gemm.m, gemm.input,
                             parts_.registers->prepared()});
  call.prepared = op.in;
  call.prepared_kind = gemm.input.kind;
  call.prepared_block = gemm.input.block;
}

void VisitRunner::gemm(Call& call, const ProgramOp& op) {
  GemmParams params = bind_weight(call, op);
  if (params.panel_count == 0) return;
  prepare(call, op, params);
  if (op.out == Reg::logits) return head(call, params);
  params.y = reg(call, op.out);
  params.y_stride = width(op.out);
  if (op.residual != Reg::none) {
    params.residual = reg(call, op.residual);
    params.residual_stride = width(op.residual);
  }
  submit(call, params);
}

// The vocabulary chunk of this visit: logits rows go to the logits buffer, score rows through a
// tile into their running states.
void VisitRunner::head(Call& call, GemmParams params) {
  const BatchBinding& batch = call.batch();
  const Visit& visit = *call.binding.visit;
  const HeadMemory& memory = *call.binding.head;
  const int64_t logits_rows = batch.plan->logits_rows, score_rows = batch.plan->score_rows;
  if (logits_rows > 0) {
    GemmParams part = params;
    part.m = logits_rows;
    part.y = memory.logits + batch.first_logits * parts_.spec->vocab;
    part.y_stride = parts_.spec->vocab;
    submit(call, part);
    if (visit.last_chunk) sample(call, part);
  }
  if (score_rows == 0) return;
  params.x += logits_rows * params.input.stride_bytes;
  params.m = score_rows;
  params.y = memory.tile;
  params.y_stride = memory.columns;
  params.column_origin = visit.row_begin;
  submit(call, params);
  submit(call, ScoreParams{memory.tile, memory.columns, score_rows, visit.row_begin,
                           visit.row_end - visit.row_begin, batch.targets.data(),
                           memory.states + batch.first_score});
}

// Chooses the tokens of the rows that want nothing else; `gemm` is that of their logits.
void VisitRunner::sample(Call& call, const GemmParams& gemm) {
  const BatchBinding& batch = call.batch();
  if (batch.samples.empty()) return;
  submit(call, SampleParams{gemm.y, gemm.y_stride, parts_.spec->vocab, batch.samples.data(),
                            static_cast<int64_t>(batch.samples.size()),
                            call.binding.head->tokens + batch.first_logits});
}

void VisitRunner::rotary(Call& call, const ProgramOp& op) {
  const AttentionSpec& attention = parts_.spec->attention;
  RotaryParams params;
  params.x = reg(call, op.out);
  params.x_stride = width(op.out);
  params.m = call.tokens();
  params.head_dim = attention.head_dim;
  params.heads = static_cast<int>(width(op.out) / attention.head_dim);
  params.rotary_dim = parts_.spec->rotary.rotary_dim;
  params.positions = call.batch().positions.data();
  params.inv_freq = parts_.inv_freq;
  params.scale = parts_.spec->rotary.attention_factor;
  submit(call, params);
}

void VisitRunner::append(Call& call) {
  const auto& spans = call.batch().layers.at(call.module.layer).append;
  if (spans.empty()) return;
  submit(call, KvAppendParams{parts_.kv, spans.data(), static_cast<int32_t>(spans.size()),
                              reg(call, Reg::k), width(Reg::k), reg(call, Reg::v), width(Reg::v)});
}

void VisitRunner::attend(Call& call, const std::vector<SpanView>& spans) {
  if (spans.empty()) return;
  AttentionParams params =
      attention_params(*parts_.spec, call.module.layer, parts_.kv, parts_.compute);
  params.spans = spans.data();
  params.span_count = static_cast<int32_t>(spans.size());
  params.q = reg(call, Reg::q);
  params.q_stride = width(Reg::q);
  params.out = reg(call, Reg::attended);
  params.out_stride = width(Reg::attended);
  if (std::byte* slot = call.binding.exchange; slot && parts_.exchange.attends) {
    params.states = reinterpret_cast<AttentionState*>(slot + parts_.exchange.states_offset());
  }
  submit(call, params);
}

AttentionParams attention_params(const ModelSpec& spec, int layer, const KvLayout& kv,
                                 Compute compute) {
  AttentionParams params;
  params.exact = compute == Compute::exact;
  params.layout = kv;
  params.heads = spec.attention.heads;
  params.scale = spec.attention.scale;
  params.window = spec.layers.at(layer).window;
  return params;
}

}  // namespace penstock
