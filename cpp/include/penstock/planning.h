// What a search for a policy needs to know of a model on a machine: for any policy the exact bytes
// on every tier, the seconds of its sweeps in closed form, and the dry run of the job. From
// config.json alone. Policies are JSON as EngineOptions::policy; everything may throw ApiError.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "penstock/engine.h"

namespace penstock {

class Planning {
 public:
  explicit Planning(const EngineOptions& options);
  ~Planning();
  Planning(Planning&&) noexcept;
  Planning& operator=(Planning&&) noexcept;

  // JSON: what does not depend on the policy. accelerator, threads, layers, hidden, rows, prompt,
  // fresh, longest (tokens), weight_bytes, kv_bytes_per_token, budget_bytes by tier, machine (the
  // rates in force).
  std::string facts() const;
  // JSON of one policy, completed by a rule of thumb where it is open: policy, bytes and budget by
  // tier, fits, seconds of the whole job, tokens_per_second, and phases: the sweeps of each kind,
  // how many, and the seconds of each lane in one of them.
  std::string evaluate(const std::string& policy) const;
  // JSON as Engine::predict(), of the policy as it is: no budget is looked at.
  std::string predict(const std::string& policy, const std::vector<RowTokens>& rows,
                      int64_t most_rows, bool with_sweep) const;
  // The same of the workload's rows, quicker and nearly right: weights travel in larger panels, so
  // that a sweep has fewer steps. Bytes are exact, seconds are within a few percent.
  std::string sketch(const std::string& policy, int64_t most_rows) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock
