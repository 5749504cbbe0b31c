// The steps of the disk lanes: panels and embedding rows are read, pages and hidden rows are read
// and written. A read starts when the step begins and is waited for when the lane comes to its end,
// so that several are in flight.
#pragma once

#include "engine/step_places.h"

namespace penstock {

class DiskSteps {
 public:
  // All must outlive this.
  DiskSteps(const ExecutorParts& parts, const Staging& staging, const StepPlaces& places)
      : parts_(parts), staging_(staging), places_(places) {}

  Ticket read_panel(const StepCall& call) const;
  // Rows of the embedding tables for the tokens of a micro-batch.
  Ticket gather(const StepCall& call) const;
  Ticket read_kv(const StepCall& call) const;
  Ticket write_kv(const StepCall& call) const;
  // Hidden rows of a micro-batch that live on disk between visits.
  Ticket read_hidden(const StepCall& call) const { return spill_hidden(call, false); }
  Ticket write_hidden(const StepCall& call) const { return spill_hidden(call, true); }

 private:
  Ticket submit(const StepCall& call, LaneTask task) const;
  Ticket spill_hidden(const StepCall& call, bool write) const;

  const ExecutorParts& parts_;
  const Staging& staging_;
  const StepPlaces& places_;
};

}  // namespace penstock
