// Walks a schedule: hands each step to the part that performs its kind, after the tickets of the
// steps it follows. Decides nothing. A sweep is over when its results can be read; prefetches for
// the next sweep stay in flight.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/compute_steps.h"
#include "engine/copy_steps.h"
#include "engine/disk_steps.h"
#include "engine/sweep_runner.h"

namespace penstock {

class Executor final : public SweepRunner {
 public:
  explicit Executor(const ExecutorParts& parts);
  ~Executor() override;  // waits for everything in flight; errors are dropped
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Throws the first error of any lane; unusable afterwards.
  void start(const SweepWork& sweep) override;
  void finish() override;
  const float* logits(int64_t row) const override;
  int32_t token(int64_t row) const override;
  const ScoreState* score(int64_t index) const override;

 private:
  void forget_old_tickets(const Schedule& schedule);
  std::vector<Ticket> tickets_of(const Step& step) const;
  Ticket submit(const StepCall& call);
  const Staging::Head& results() const;

  ExecutorParts parts_;
  Staging staging_;
  StepPlaces places_;
  DiskSteps disk_;
  CopySteps copies_;
  ComputeSteps compute_;
  std::vector<std::unique_ptr<BoundSweep>> sweeps_;  // as many as may be in flight; taken in turn
  uint64_t started_ = 0, finished_ = 0;              // sweeps
  std::unordered_map<uint64_t, Ticket> tickets_;     // by step id
  std::deque<uint64_t> first_ids_;                   // of the sweeps whose tickets are kept
};

}  // namespace penstock
