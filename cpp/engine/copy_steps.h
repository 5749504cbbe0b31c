// The steps of the copy lanes: what crosses between host memory and an accelerator, and from one
// accelerator to the next.
#pragma once

#include "engine/step_places.h"

namespace penstock {

class CopySteps {
 public:
  // All must outlive this.
  CopySteps(const ExecutorParts& parts, const Staging& staging, const StepPlaces& places)
      : parts_(parts), staging_(staging), places_(places) {}

  Ticket upload_panel(const StepCall& call) const;
  Ticket upload_gathered(const StepCall& call) const;
  Ticket upload_kv(const StepCall& call) const;
  // Rows of q, k and v that the host attends for or stores; what it attended, and its states.
  Ticket download_exchange(const StepCall& call) const;
  Ticket upload_exchange(const StepCall& call) const;
  // Hidden rows of a micro-batch: to and from host memory, and to the device of the next visit.
  Ticket upload_hidden(const StepCall& call) const;
  Ticket download_hidden(const StepCall& call) const;
  Ticket send_hidden(const StepCall& call) const;
  // Logits, tokens and states of scores, to where the sampler reads them.
  Ticket download_results(const StepCall& call) const;

  // Marks the slots that a compute step released as dead, so that a kernel which reads them later
  // gives no number. Later users of the slots follow. Returns the step's ticket then.
  Ticket poison_released(const Step& step, Ticket ticket) const;

 private:
  Ticket copy_all(const StepCall& call, const std::vector<CopyParams>& copies) const;

  const ExecutorParts& parts_;
  const Staging& staging_;
  const StepPlaces& places_;
};

}  // namespace penstock
