// A whole job without its model: the generator plans every sweep as it would, the builder builds
// it, and the simulator says how long it takes on a machine. Bytes per lane are those that a run
// moves, to the byte, as long as requests end where they are said to end.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "plan/memory_plan.h"
#include "schedule/build.h"
#include "schedule/simulate.h"

namespace penstock {

struct RequestLength {
  int64_t prompt = 1, fresh = 1;  // tokens read; generated, 0: the request is scored
  std::vector<int32_t> tokens;    // the prompt; empty: it begins like no other
  bool logits = false;            // they come to the host: not samples_plainly()
};

// What a sweep serves: prompts that are read, rows that get tokens, or both in one.
enum class SweepKind : uint8_t { prompts, both, tokens };
inline constexpr int kSweepKinds = 3;

// All sweeps of one kind.
struct Phase {
  double seconds = 0, sweeps = 0;
  PerLane<double> lane_seconds;
};

struct Prediction {
  double seconds = 0;
  double first_results = 0;  // seconds until a tenth of the rows have their result
  uint64_t rows = 0, sweeps = 0, prompt_tokens = 0, generated_tokens = 0;
  PerLane<double> lane_seconds;
  PerLane<uint64_t> lane_bytes;
  double flops = 0;
  std::array<Phase, kSweepKinds> phases;  // they make up the seconds of the job
  uint64_t steps = 0;                     // run through: the work of predicting
  // A sweep from the middle of the job.
  SweepKind sweep_kind = SweepKind::both;
  Schedule sweep;
  Timeline timeline;
  double sweep_begin = 0, sweep_seconds = 0, sweep_flops = 0;
  bool extrapolated = false;  // the job is longer than what was run through

  double tokens_per_second() const {
    return seconds > 0 ? static_cast<double>(generated_tokens) / seconds : 0;
  }
};

struct DryRunInput {
  const PlanInput* plan = nullptr;
  const ResolvedPolicy* policy = nullptr;
  const MemoryPlan* memory = nullptr;
  std::vector<RequestLength> rows;  // in the order in which they are submitted
  int64_t most_rows = 0;            // run through so many and extrapolate; 0: all
};

// Throws like Engine::submit() for requests that do not fit.
Prediction dry_run(const DryRunInput& input);

// Requests as a workload describes them.
std::vector<RequestLength> typical_rows(const PlanInput& input, const ResolvedPolicy& policy);

}  // namespace penstock
