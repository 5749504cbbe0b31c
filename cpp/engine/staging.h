// The fixed memory of an engine besides weights, KV pages and hidden rows: staging slots,
// registers, head buffers. Allocated once with exactly the sizes of the memory plan, charged under
// its labels.
#pragma once

#include <memory>

#include "engine/context.h"
#include "engine/visit_runner.h"
#include "plan/memory_plan.h"
#include "schedule/step.h"

namespace penstock {

class Staging {
 public:
  struct Parts {
    Context* context;
    const ModelSpec* spec;
    const Program* program;
    const WeightList* weights;
    const MemoryPlan* memory;
    const ResolvedPolicy* policy;
    bool exact;
  };
  explicit Staging(const Parts& parts);

  std::byte* slot(SlotKind kind, int index) const;
  size_t slot_bytes(SlotKind kind) const;
  const Registers& registers() const { return *registers_; }
  const HeadMemory& head() const { return head_; }
  const float* inv_freq() const { return reinterpret_cast<const float*>(inv_freq_.data()); }
  // Host copies of what the head produced; the same memory as head() when the CPU computes.
  float* host_logits() const { return host_logits_; }
  ScoreState* host_states() const { return host_states_; }
  // Bytes of one gather slot's token rows; position rows follow.
  int64_t gather_positions_offset() const { return positions_offset_; }

 private:
  const MemoryItem* item(Tier tier, const std::string& label) const;
  Buffer host_item(const std::string& label);
  Buffer compute_item(const std::string& label);
  void allocate_registers(const Parts& parts);
  void allocate_head(const Parts& parts);
  void load_inv_freq(const Parts& parts);

  Context& context_;
  const MemoryPlan& memory_;
  Buffer host_ring_, device_ring_, gather_, device_gather_, kv_, device_kv_, exchange_,
      device_exchange_, work_, head_block_, logits_, device_logits_, inv_freq_;
  int64_t gather_slot_bytes_ = 0, positions_offset_ = 0;
  std::unique_ptr<Registers> registers_;
  HeadMemory head_;
  float* host_logits_ = nullptr;
  ScoreState* host_states_ = nullptr;
};

}  // namespace penstock
