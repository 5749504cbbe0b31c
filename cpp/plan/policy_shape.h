// From a wish to a complete policy: what the device decides, what follows from a number of
// sequences and the size of launches. No search, no budgets.
#pragma once

#include "plan/memory_plan.h"

namespace penstock {

class PolicyShape {
 public:
  // Throws Error(invalid_argument) for a field that cannot hold on this device.
  PolicyShape(const PlanInput& input, const Policy& wanted);

  // What does not depend on the number of sequences.
  const ResolvedPolicy& base() const { return base_; }
  // For `sequences` in flight, launches of about `rows` rows and about `tokens` in the sweeps in
  // flight together.
  ResolvedPolicy shape(int sequences, int rows, int64_t tokens) const;
  // Everything that `wanted` leaves open by a rule of thumb.
  ResolvedPolicy complete() const;

 private:
  void validate() const;
  ResolvedPolicy base_policy() const;
  int page_tokens(bool on_disk) const;
  uint64_t panel_bytes() const;
  std::vector<int> device_layers() const;

  const PlanInput& input_;
  const Policy& wanted_;
  ResolvedPolicy base_;
};

}  // namespace penstock
