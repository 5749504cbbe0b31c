// The steps that compute: a visit of the sweep for one micro-batch, and attention on the host
// beside an accelerator.
#pragma once

#include <memory>
#include <vector>

#include "engine/host_attention.h"
#include "engine/step_places.h"
#include "engine/visit_runner.h"

namespace penstock {

class ComputeSteps {
 public:
  // All must outlive this. Opens the lane host_compute where the plan wants it.
  ComputeSteps(const ExecutorParts& parts, const Staging& staging, const StepPlaces& places);

  Ticket compute(const StepCall& call);
  Ticket attend_on_host(const StepCall& call);

 private:
  void bind_panels(const StepCall& call) const;
  void place_pages(const StepCall& call, SlotKind kind) const;

  const ExecutorParts& parts_;
  const Staging& staging_;
  const StepPlaces& places_;
  std::vector<VisitRunner> runners_;               // by device
  std::unique_ptr<HostAttention> host_attention_;  // accelerator with pages below
};

}  // namespace penstock
