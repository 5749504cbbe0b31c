#include <map>
#include <tuple>

#include "engine/dry_run.h"
#include "engine/guarded.h"
#include "engine/planning.h"
#include "engine/prediction_json.h"
#include "penstock/planning.h"
#include "plan/estimate.h"
#include "plan/layout.h"
#include "plan/policy_shape.h"
#include "plan/request_lengths.h"

namespace penstock {

namespace {

Json lanes_json(const SweepCost& cost) {
  Json lanes = Json::object();
  for (int lane = 0; lane < kLaneKinds; ++lane) {
    lanes[lane_name(static_cast<LaneKind>(lane))] = cost.seconds[lane];
  }
  return lanes;
}

}  // namespace

struct Planning::State {
  explicit State(const EngineOptions& given)
      : options(with_defaults(given)),
        model(options, WeightFiles::not_needed),
        input(plan_input(options, model)),
        estimator(input) {}

  Policy parse(const std::string& text) const {
    return text.empty() ? Policy{} : policy_from_json(text, "policy");
  }

  // Placements are the slow part of sizing, and a search tries few of them.
  const WeightSummary& summary(const ResolvedPolicy& policy) {
    const Placed key{policy.weights.device, policy.weights.host, policy.weights.disk,
                     policy.host_attention, policy.device_layers};
    auto found = summaries.find(key);
    if (found == summaries.end()) {
      found = summaries.emplace(key, summarise(input, place(input, policy))).first;
    }
    return found->second;
  }

  // As the policy says, whether it fits or not.
  Chosen planned(const std::string& policy) const {
    Chosen chosen;
    chosen.policy = PolicyShape(input, parse(policy)).complete();
    chosen.memory = memory_plan(input, chosen.policy);
    return chosen;
  }

  bool fits(const MemoryPlan& plan) const {
    return penstock::fits(input, plan, Tier::device) && penstock::fits(input, plan, Tier::host) &&
           penstock::fits(input, plan, Tier::disk);
  }

  EngineOptions options;
  Model model;
  PlanInput input;
  Estimator estimator;
  using Placed = std::tuple<double, double, double, bool, std::vector<int>>;
  std::map<Placed, WeightSummary> summaries;
};

Planning::Planning(const EngineOptions& options)
    : state_(guarded([&] { return std::make_unique<State>(options); })) {}
Planning::~Planning() = default;
Planning::Planning(Planning&&) noexcept = default;
Planning& Planning::operator=(Planning&&) noexcept = default;

std::string Planning::facts() const {
  return guarded([&] {
    const State& s = *state_;
    const RequestLengths lengths = request_lengths(s.input);
    const KvLayout kv{s.input.kv, s.input.spec->attention.kv_heads,
                      s.input.spec->attention.head_dim, 32};
    uint64_t weights = 0;
    for (const WeightInfo& info : s.input.weights->all()) {
      if (info.kind == WeightKind::matrix) {
        weights += stored_bytes(info, s.input.formats.at(info.id), 0, info.rows);
      }
    }
    const auto layers = static_cast<int64_t>(s.input.spec->layers.size());
    const Json facts = {
        {"accelerator", s.input.accelerator},
        {"sweeps", std::max<size_t>(1, s.input.device_bytes.size())},
        {"threads", s.input.threads},
        {"layers", layers},
        {"hidden", s.input.spec->hidden},
        {"rows", s.input.workload.rows},
        {"prompt", lengths.prompt},
        {"fresh", lengths.fresh},
        {"longest", lengths.longest},
        {"max_context", s.input.max_context},
        {"weight_bytes", weights},
        {"kv_bytes_per_token", layers * static_cast<int64_t>(kv.page_bytes()) / kv.page_tokens},
        {"budget_bytes", budget_json(s.input)},
        {"machine", parse_strict_json(machine_to_json(s.input.machine), "machine")}};
    return facts.dump();
  });
}

std::string Planning::evaluate(const std::string& policy) const {
  return guarded([&] {
    State& s = *state_;
    const Policy wanted = s.parse(policy);
    const ResolvedPolicy complete = PolicyShape(s.input, wanted).complete();
    const WeightSummary& weights = s.summary(complete);
    const MemoryPlan plan = lay_out(s.input, complete, weights);
    const Estimate estimate = s.estimator.workload(complete, weights, plan);
    Json phases = Json::array();
    for (const Estimate::Phase& phase : estimate.phases) {
      phases.push_back({{"sweeps", phase.sweeps}, {"lanes", lanes_json(phase.cost)}});
    }
    const Json result = {{"policy", policy_json(complete)},
                         {"bytes", memory_json(plan)},
                         {"budget", budget_json(s.input)},
                         {"fits", s.fits(plan)},
                         {"seconds", estimate.seconds},
                         {"tokens_per_second", estimate.tokens_per_second},
                         {"phases", phases}};
    return result.dump();
  });
}

std::string Planning::predict(const std::string& policy, const std::vector<RowTokens>& rows,
                              int64_t most_rows, bool with_sweep) const {
  return guarded([&] {
    const Chosen chosen = state_->planned(policy);
    return penstock::predict(state_->input, chosen, rows, {most_rows, with_sweep}).dump();
  });
}

std::string Planning::sketch(const std::string& policy, int64_t most_rows) const {
  return guarded([&] {
    const Chosen chosen = state_->planned(policy);
    PredictOptions options{.most_rows = most_rows, .with_sweep = false, .coarse = true};
    return penstock::predict(state_->input, chosen, {}, options).dump();
  });
}

}  // namespace penstock
