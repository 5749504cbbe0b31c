// How long rows are, for sizing: derived from the workload, never beyond the context limit.
#pragma once

#include <algorithm>
#include <cstdint>

#include "plan/memory_plan.h"

namespace penstock {

struct RequestLengths {
  int64_t prompt = 1, fresh = 1;  // mean prompt tokens, mean new tokens
  int64_t mean = 1;               // final length, mean
  int64_t longest = 1;            // final length, longest
  int64_t flying = 1;             // mean over the ages of rows in flight
};

inline int64_t context_limit(const PlanInput& input) {
  return std::max(1, input.max_context > 0 ? input.max_context : input.spec->max_positions);
}

inline RequestLengths request_lengths(const PlanInput& input) {
  const Workload& w = input.workload;
  const int64_t limit = context_limit(input);
  const auto within = [&](int64_t tokens) { return std::clamp<int64_t>(tokens, 1, limit); };
  RequestLengths lengths;
  lengths.prompt = within(w.mean_prompt);
  lengths.fresh = within(w.mean_new);
  lengths.mean = within(w.mean_prompt + w.mean_new);
  const int64_t prompt = w.max_prompt > 0 ? w.max_prompt : 2 * w.mean_prompt;
  const int64_t fresh = w.max_new > 0 ? w.max_new : 2 * w.mean_new;
  lengths.longest = std::max(lengths.mean, within(prompt + fresh));
  lengths.flying = std::min(lengths.mean, within(w.mean_prompt + (w.mean_new + 1) / 2));
  return lengths;
}

}  // namespace penstock
