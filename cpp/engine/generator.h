// Requests in, tokens out: admission, one sweep after another, sampling, stopping. Reads from top
// to bottom as step() does: admit, plan, start, collect. No request's result depends on its
// company.
//
// Where the model is a pipeline over several devices, as many sweeps are in flight, so that each
// device has one to work on: requests are divided into cohorts, and the sweeps serve them in turn.
#pragma once

#include <memory>
#include <vector>

#include "base/lane.h"
#include "engine/collector.h"
#include "engine/request_check.h"
#include "engine/request_pool.h"
#include "engine/sweeps_in_flight.h"

namespace penstock {

struct GeneratorParts {
  SweepRunner* runner = nullptr;
  const ModelSpec* spec = nullptr;
  const Program* program = nullptr;
  const WeightList* weights = nullptr;
  const MemoryPlan* memory = nullptr;
  const ResolvedPolicy* policy = nullptr;
  KvStore* kv = nullptr;
  const LaneSet* lanes = nullptr;  // whose busy time is counted; may be null
  bool accelerator = false;
  int threads = 1;  // for sampling
  int max_context = 0;
};

class Generator {
 public:
  explicit Generator(const GeneratorParts& parts);

  // Throws Error(invalid_argument | budget) and is unchanged then.
  uint64_t submit(const Request& request);
  std::vector<Event> step();
  void cancel(uint64_t id) { pool_.cancel(id); }
  bool idle() const { return pool_.empty(); }
  // Logits of every position, row-major [tokens, vocab]; only when idle.
  std::vector<float> logits(const std::vector<int32_t>& tokens);

  struct Counts {
    uint64_t sweeps = 0, prompt_tokens = 0, shared_tokens = 0, generated_tokens = 0;
    uint64_t active = 0, waiting = 0;
    double seconds = 0, busiest_seconds = 0;
    PerLane<uint64_t> lane_bytes;  // as the schedules say
  };
  Counts counts() const;

 private:
  bool start_next();
  bool start(int cohort);
  std::vector<Event> finish_oldest();
  void add_busiest_lane();

  GeneratorParts parts_;
  RequestCheck check_;
  RequestPool pool_;
  SweepsInFlight sweeps_;
  Collector collector_;
  int next_cohort_ = 0;
  uint64_t next_id_ = 1;
  Counts counts_;
  PerLane<double> lane_seconds_;  // busy before the sweep
};

}  // namespace penstock
