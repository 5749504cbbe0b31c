// Turns one compute step (a visit of the sweep for one micro-batch) into the ops of its module and
// hands them to the device. It binds addresses; what runs, and in which order, was decided by the
// program and the schedule.
#pragma once

#include <span>
#include <vector>

#include "device/device.h"
#include "engine/binding.h"
#include "engine/registers.h"
#include "plan/memory_plan.h"
#include "store/weight_store.h"

namespace penstock {

// Memory of the head: rows whose logits are wanted keep their place from chunk to chunk of the
// vocabulary.
struct HeadMemory {
  float* picked = nullptr;     // [head rows of the sweep, hidden]
  float* projected = nullptr;  // [head rows of the sweep, embed_dim]; null without project_out
  float* logits = nullptr;     // [logits rows of the sweep, vocab], compute memory
  int32_t* tokens = nullptr;   // [logits rows of the sweep], compute memory
  float* tile = nullptr;       // [score rows of a batch, columns]
  int64_t columns = 0;
  ScoreState* states = nullptr;  // [score rows of the sweep], compute memory
};

// Addresses of one compute step.
struct VisitBinding {
  const Visit* visit = nullptr;
  const std::vector<std::vector<WeightPanel>>* panels =
      nullptr;  // by position in the module's matrices
  const BatchBinding* batch = nullptr;
  float* hidden = nullptr;
  const HeadMemory* head = nullptr;
  std::byte* exchange = nullptr;  // q, k, v, attended of the micro-batch, where they outlive it
  const std::byte* gathered = nullptr;  // embed visit: token rows, then position rows
  int64_t gathered_positions_offset = 0;
};

// What attention is in a layer of the model; spans, queries and output are left open.
AttentionParams attention_params(const ModelSpec& spec, int layer, const KvLayout& kv,
                                 Compute compute);

class VisitRunner {
 public:
  struct Parts {
    const ModelSpec* spec;
    const Program* program;
    const WeightList* weights;
    const WeightStore* store;
    const Registers* registers;
    Device* device;
    KvLayout kv;
    ExchangeLayout exchange;
    Compute compute;
    bool invariant;         // GemmParams::invariant
    const float* inv_freq;  // in compute memory; null without rotary positions
  };
  explicit VisitRunner(const Parts& parts) : parts_(parts) {}

  // Submits all ops; the first waits for `after`. Returns the ticket of the last.
  Ticket run(const VisitBinding& binding, std::span<const Ticket> after, int64_t tag);

 private:
  struct Call;
  float* reg(const Call& call, Reg reg) const;
  float* exchanged(const Call& call, Reg reg) const;
  int64_t rows(const Call& call, Reg reg) const;
  int64_t width(Reg reg) const { return parts_.registers->width(reg); }
  void submit(Call& call, const Op& op);
  void op(Call& call, const ProgramOp& op);
  void embed(Call& call, const ProgramOp& op);
  void norm(Call& call, const ProgramOp& op);
  void gemm(Call& call, const ProgramOp& op);
  void head(Call& call, GemmParams gemm);
  void sample(Call& call, const GemmParams& gemm);
  void rotary(Call& call, const ProgramOp& op);
  void append(Call& call);
  void attend(Call& call, const std::vector<SpanView>& spans);
  GemmParams bind_weight(Call& call, const ProgramOp& op);
  void prepare(Call& call, const ProgramOp& op, GemmParams& gemm);

  Parts parts_;
};

}  // namespace penstock
