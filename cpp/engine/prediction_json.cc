#include "engine/prediction_json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

namespace penstock {
namespace {

const char* lane_words(LaneKind lane) {
  constexpr const char* kWords[] = {"compute",
                                    "attention on the host",
                                    "the link to the device",
                                    "the link from the device",
                                    "reading from disk",
                                    "writing to disk"};
  return kWords[static_cast<int>(lane)];
}

// As people tell it: "1 h 12 min", "3 min 20 s", "4.2 s".
std::string duration(double seconds) {
  char text[64];
  const auto whole = std::llround(seconds), minutes = std::llround(seconds / 60);
  if (seconds >= 3599.5) {
    std::snprintf(text, sizeof text, "%lld h %lld min", minutes / 60, minutes % 60);
  } else if (seconds >= 99.95) {
    std::snprintf(text, sizeof text, "%lld min %lld s", whole / 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%.3g s", seconds);
  }
  return text;
}

constexpr double kLeastPart = 0.1;  // of the job, for a phase that is worth a sentence
constexpr const char* kPhaseNames[kSweepKinds] = {"prompts", "both", "tokens"};
constexpr const char* kPhaseWords[kSweepKinds] = {"while prompts are read",
                                                  "while prompts are read and tokens generated",
                                                  "while tokens are generated"};

LaneId busiest(const PerLane<double>& lanes) {
  const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  return std::max_element(lanes.begin(), lanes.end(), less)->first;
}

std::string decides(const PerLane<double>& lanes, double seconds) {
  const LaneId lane = busiest(lanes);
  const double busy = lanes.at(lane);
  char share[32];
  std::snprintf(share, sizeof share, "%.0f", 100 * std::min(1.0, busy / std::max(seconds, 1e-12)));
  return std::string(lane_words(lane.kind)) + " decides: busy for " + share + " % of the time (" +
         duration(busy) + " of " + duration(seconds) + ")";
}

// What decides in the whole job, where it is one lane; else in each of its phases.
std::string bottleneck(const Prediction& prediction) {
  if (prediction.lane_seconds.empty()) return "nothing to do";
  std::vector<size_t> large;
  bool one = true;
  for (size_t i = 0; i < prediction.phases.size(); ++i) {
    const Phase& phase = prediction.phases[i];
    if (phase.lane_seconds.empty() || phase.seconds < kLeastPart * prediction.seconds) continue;
    large.push_back(i);
    one = one && busiest(phase.lane_seconds).kind == busiest(prediction.lane_seconds).kind;
  }
  if (one) return decides(prediction.lane_seconds, prediction.seconds);
  std::string text;
  for (const size_t i : large) {
    const Phase& phase = prediction.phases[i];
    text += (text.empty() ? "" : "; ") + std::string(kPhaseWords[i]) + ", " +
            decides(phase.lane_seconds, phase.seconds);
  }
  return text;
}

Json phases_json(const Prediction& prediction) {
  Json json = Json::array();
  for (size_t i = 0; i < prediction.phases.size(); ++i) {
    const Phase& phase = prediction.phases[i];
    if (phase.sweeps <= 0) continue;
    Json lanes = Json::object();
    for (const auto& [lane, seconds] : phase.lane_seconds) {
      if (seconds > 0) lanes[lane_name(lane)] = seconds;
    }
    json.push_back({{"name", kPhaseNames[i]},
                    {"sweeps", static_cast<int64_t>(std::llround(phase.sweeps))},
                    {"seconds", phase.seconds},
                    {"lanes", lanes}});
  }
  return json;
}

Json lanes_json(const Prediction& prediction) {
  Json lanes = Json::object();
  for (const auto& [lane, seconds] : prediction.lane_seconds) {
    const uint64_t bytes = prediction.lane_bytes.at(lane);
    if (seconds > 0 || bytes > 0) lanes[lane_name(lane)] = {{"seconds", seconds}, {"bytes", bytes}};
  }
  return lanes;
}

Json tier_json(const uint64_t (&bytes)[kTiers]) {
  Json json = Json::object();
  for (int tier = 0; tier < kTiers; ++tier) {
    json[std::string(tier_name(static_cast<Tier>(tier)))] = bytes[tier];
  }
  return json;
}

void add_matrix_bytes(const DryRunInput& input, const WeightInfo& info, uint64_t (&bytes)[kTiers]) {
  const WeightPlan& plan = input.memory->weights;
  for (const Segment& s : plan.placements.at(info.id).segments) {
    bytes[static_cast<int>(s.place.tier)] +=
        stored_bytes(info, plan.formats.at(info.id), s.begin, s.end);
  }
}

// Bytes by tier: weights by their role, then keys and values, then hidden rows.
Json tensors_json(const DryRunInput& input) {
  struct Bytes {
    uint64_t of[kTiers] = {};
  };
  std::vector<std::string> order;
  std::map<std::string, Bytes> sums;
  for (const WeightInfo& info : input.plan->weights->all()) {
    const std::string name(info.kind == WeightKind::vector ? "norms and biases"
                                                           : role_name(info.role));
    if (!sums.contains(name)) order.push_back(name);
    Bytes& sum = sums[name];
    if (info.kind == WeightKind::vector) {
      const Tier tier = input.plan->accelerator ? Tier::device : Tier::host;
      sum.of[static_cast<int>(tier)] += info.rows * info.cols * 4;
    } else if (input.memory->weights.alias.at(info.id) < 0) {
      add_matrix_bytes(input, info, sum.of);
    }
  }
  for (const auto& [name, label] : {std::pair{"kv", "kv"}, std::pair{"activations", "hidden"}}) {
    order.push_back(name);
    for (const MemoryItem& item : input.memory->items) {
      const bool spilled = item.label == "activations" && std::string(name) == "activations";
      if (item.label == label || spilled) sums[name].of[static_cast<int>(item.tier)] += item.bytes;
    }
  }
  Json tensors = Json::array();
  for (const std::string& name : order) {
    tensors.push_back({{"name", name}, {"bytes", tier_json(sums[name].of)}});
  }
  return tensors;
}

Json roofline_json(const DryRunInput& input, const Prediction& prediction) {
  const Machine& machine = input.plan->machine;
  double peak = machine.gemm_flops_per_second;
  for (const GemmRate& rate : machine.gemm) peak = std::max(peak, rate.flops_per_second);
  const std::pair<LaneKind, double> links[] = {
      {LaneKind::disk_read, machine.disk_read_bytes_per_second},
      {LaneKind::disk_write, machine.disk_write_bytes_per_second},
      {LaneKind::h2d, machine.h2d_bytes_per_second},
      {LaneKind::d2h, machine.d2h_bytes_per_second}};
  uint64_t bytes[kLaneKinds] = {};
  for (const Step& step : prediction.sweep.steps) {
    bytes[static_cast<int>(step.lane.kind)] += step.bytes;
  }
  Json json = {{"flops_per_sweep", prediction.sweep_flops}, {"peak_flops_per_second", peak}};
  json["links"] = Json::array();
  for (const auto& [lane, rate] : links) {
    if (bytes[static_cast<int>(lane)] == 0) continue;
    json["links"].push_back({{"name", lane_name(lane)},
                             {"bytes_per_second", rate},
                             {"bytes_per_sweep", bytes[static_cast<int>(lane)]}});
  }
  return json;
}

Json sweep_json(const DryRunInput& input, const Prediction& prediction) {
  const Program& program = program_of(*input.plan, *input.policy);
  Json steps = Json::array();
  for (size_t i = 0; i < prediction.sweep.steps.size(); ++i) {
    const Step& step = prediction.sweep.steps[i];
    const Timeline::Entry& entry = prediction.timeline.entries.at(i);
    const Module& module = program.modules.at(input.memory->weights.visits.at(step.visit).module);
    const bool computes = step.kind == StepKind::compute;
    const char* modules[] = {"embedding", "attention", "mlp", "head"};
    steps.push_back(
        {{"lane", lane_name(step.lane)},
         {"begin", entry.begin - prediction.sweep_begin},
         {"end", entry.end - prediction.sweep_begin},
         {"label", computes ? modules[static_cast<int>(module.kind)] : step_label(step.kind)},
         {"layer", module.layer},
         {"batch", step.batch}});
  }
  return {{"seconds", prediction.sweep_seconds},
          {"phase", kPhaseNames[static_cast<size_t>(prediction.sweep_kind)]},
          {"steps", steps}};
}

}  // namespace

namespace {

// Bytes of each place; without an accelerator "device" has none.
Json by_place(const std::vector<uint64_t>& devices, uint64_t host, uint64_t disk) {
  Json json = {{"device", 0}, {"host", host}, {"disk", disk}};
  for (size_t i = 0; i < devices.size(); ++i) {
    json[place_name({Tier::device, static_cast<int>(i)})] = devices[i];
  }
  return json;
}

}  // namespace

Json budget_json(const PlanInput& input) {
  return by_place(input.device_bytes, input.host_bytes, input.disk_bytes);
}

Json memory_json(const MemoryPlan& memory) {
  return by_place(memory.device_total, memory.total[static_cast<int>(Tier::host)],
                  memory.total[static_cast<int>(Tier::disk)]);
}

Json prediction_json(const DryRunInput& input, const Prediction& prediction, bool with_sweep) {
  Json json = {{"tokens_per_second", prediction.tokens_per_second()},
               {"seconds", prediction.seconds},
               {"first_results_seconds", prediction.first_results},
               {"rows", prediction.rows},
               {"sweeps", prediction.sweeps},
               {"prompt_tokens", prediction.prompt_tokens},
               {"generated_tokens", prediction.generated_tokens},
               {"exact", !prediction.extrapolated},
               {"lanes", lanes_json(prediction)},
               {"phases", phases_json(prediction)},
               {"steps", prediction.steps},
               {"peak_bytes", memory_json(*input.memory)},
               {"budget_bytes", budget_json(*input.plan)},
               {"bottleneck", bottleneck(prediction)},
               {"tensors", tensors_json(input)},
               {"roofline", roofline_json(input, prediction)}};
  if (with_sweep) json["sweep"] = sweep_json(input, prediction);
  return json;
}

}  // namespace penstock
