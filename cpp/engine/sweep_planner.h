// Forms the micro-batches of a sweep: every decoding request gives one token, entering requests a
// chunk of their prompt, within the limits of the memory plan. What does not fit into this sweep
// rides in the next. A request waits for another only for shared pages that are not written yet
// (shared_prefix.h).
#pragma once

#include <span>

#include "engine/live_request.h"
#include "engine/sweep_shaper.h"

namespace penstock {

class SweepPlanner {
 public:
  SweepPlanner(const MemoryPlan& memory, const ResolvedPolicy& policy, const SweepShaper& shaper)
      : memory_(memory), policy_(policy), shaper_(shaper) {}

  // Requests in the order of service. Sets each one's `riding`, 0 when it does not ride; spans
  // follow the order of those that do.
  SweepPlan plan(std::span<LiveRequest* const> requests) const;

 private:
  struct Open;  // the sweep being formed
  int64_t chunk(const Open& open, const LiveRequest& request) const;
  bool place(Open& open, LiveRequest& request, int64_t tokens) const;
  bool parts(Open& open, int64_t tokens) const;
  bool start_batch(Open& open) const;
  void close_batch(Open& open) const;

  const MemoryPlan& memory_;
  const ResolvedPolicy& policy_;
  const SweepShaper& shaper_;
};

}  // namespace penstock
