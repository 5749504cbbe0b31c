// The fixed memory of an engine besides weights, KV pages and hidden rows: staging slots,
// registers, head buffers. Allocated once with exactly the sizes of the memory plan, charged under
// its labels.
#pragma once

#include <memory>
#include <vector>

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
    Compute compute;
  };
  explicit Staging(const Parts& parts);

  // `device`: of slots that each accelerator has.
  std::byte* slot(SlotKind kind, int device, int index) const;
  size_t slot_bytes(SlotKind kind) const;
  const Registers& registers(int device) const { return *devices_.at(device).registers; }
  const float* inv_freq(int device) const {
    return reinterpret_cast<const float*>(devices_.at(device).inv_freq.data());
  }
  // What the head of one of the sweeps in flight produces, and host copies of it: the same memory
  // when the CPU computes.
  struct Head {
    HeadMemory memory;
    float* host_logits = nullptr;
    int32_t* host_tokens = nullptr;
    ScoreState* host_states = nullptr;
  };
  const Head& head(int sweep) const { return heads_.at(sweep); }
  // Bytes of one gather slot's token rows; position rows follow.
  int64_t gather_positions_offset() const { return positions_offset_; }

 private:
  // Of each device that computes.
  struct PerDevice {
    Buffer ring, gather, kv, exchange, work, inv_freq;
    std::unique_ptr<Registers> registers;
  };
  Buffer host_item(const std::string& label);
  Buffer compute_item(const std::string& label, int device);
  Buffer item(Place place, const std::string& label);
  void allocate_device(const Parts& parts, int device);
  void allocate_registers(const Parts& parts, PerDevice* of, int device);
  void allocate_heads(const Parts& parts);
  Head head_at(const Parts& parts, int sweep) const;
  void load_inv_freq(const Parts& parts, PerDevice* of, int device);
  const Buffer& block(SlotKind kind, int device) const;

  Context& context_;
  const MemoryPlan& memory_;
  std::vector<PerDevice> devices_;
  Buffer ring_, gather_, kv_, exchange_;  // in host memory
  Buffer head_block_, logits_, device_logits_;
  int64_t gather_slot_bytes_ = 0, positions_offset_ = 0;
  std::vector<Head> heads_;  // by sweep in flight
};

}  // namespace penstock
