// How many tokens of prompts should enter with each sweep, on average, while weights stream. With
// room for every row at once, all prompts are read first: spreading them only adds sweeps. When KV
// space holds a part of the rows, those that entered together would all leave together and each
// sweep between would wait for the disk; entering steadily, rows of all ages share a sweep whose
// compute takes as long as its transfers, and as they hold half of what they will generate on
// average, more of them fit. A pace changes when rows enter, never what they give.
#pragma once

#include <cstdint>

#include "plan/layout.h"
#include "plan/memory_plan.h"

namespace penstock {

struct SweepRates {
  double stream_seconds = 0;  // of a sweep whatever it carries: its busiest transfer lane
  double token_seconds = 0;   // compute of one token, all layers
};

struct PaceInput {
  double rows = 0;
  double prompt = 1, fresh = 1;  // mean tokens of a row: read, generated
  double kv_tokens = 0;          // room for keys and values, in whole pages
  double page_tokens = 1;
  double max_sequences = 1;
  double sweep_tokens = 1;  // most a sweep can carry
  SweepRates rates;
};

// Seconds of the job when new rows enter only while a sweep carries less than `tokens`. A
// simulation in at most 32 steps of a row's life; jobs much longer than that are cut to their
// beginning and end, so only compare figures of the same input.
double paced_seconds(const PaceInput& input, double tokens);

// The best of a few such limits; sweep_tokens when holding rows back gains nothing clear.
int64_t best_pace(const PaceInput& input);

// ResolvedPolicy::pace for a policy that is complete otherwise, with its sizes; 0: no limit.
int64_t choose_pace(const PlanInput& input, const ResolvedPolicy& policy, const MemoryPlan& sizes);

}  // namespace penstock
