// Where the operands of a step are: slots, hidden rows, panels; and on which device, in which
// layer. Every part of the executor asks here.
#pragma once

#include "engine/bound_sweep.h"

namespace penstock {

class StepPlaces {
 public:
  // Both must outlive this.
  StepPlaces(const ExecutorParts& parts, const Staging& staging)
      : parts_(parts), staging_(staging) {}

  const Visit& visit(const Step& step) const;
  const Panel& panel(const Step& step) const;
  int layer(const Step& step) const;
  int device_of(const Step& step) const { return visit(step).device; }
  Device& device(const Step& step) const { return parts_.context->device(device_of(step)); }

  // The slot of that kind that the step uses; null when it uses none.
  std::byte* slot(const Step& step, SlotKind kind) const;
  // The residual stream of the step's micro-batch where the device computes: its rows in memory, or
  // the slot through which it passes. Null for later chunks of the head: they read picked rows.
  float* hidden(const StepCall& call) const;
  // The same in host memory beside an accelerator.
  float* host_hidden(const StepCall& call) const;

 private:
  const ExecutorParts& parts_;
  const Staging& staging_;
};

}  // namespace penstock
