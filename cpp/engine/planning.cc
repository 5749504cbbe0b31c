#include "engine/planning.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "base/error.h"
#include "base/version.h"
#include "device/device.h"
#include "engine/guarded.h"
#include "engine/host_limits.h"
#include "engine/prediction_json.h"
#include "engine/throttle.h"
#include "plan/coarse_panels.h"
#include "plan/layout.h"
#include "plan/request_lengths.h"

namespace penstock {
namespace {

Json shares_json(const Shares& shares) {
  return {{"device", shares.device}, {"host", shares.host}, {"disk", shares.disk}};
}

constexpr int kCoarsePanels = 8;                      // of a visit
constexpr int64_t kPredictedWaves = 8;                // of rows in flight
constexpr double kMostSteps = 1e7;                    // of a dry run in panels as they are
constexpr uint64_t kDeviceBytes = uint64_t{1} << 30;  // where no device can be asked
constexpr uint64_t kDeviceUnit = uint64_t{1} << 28;   // so that one who asks again hears the same

// A plan may be for a machine one does not have, but not for a kind of device there is not.
void check_device_kind(const std::string& device) {
  const std::string kind = device_kind(device);
  if (kind == "cpu" || kind == "virtual" || kind == "cuda") return;
  throw Error(ErrorCode::unsupported, "unknown device",
              {.field = "device",
               .found = escape_for_message(device),
               .allowed = "cpu, cpu:ISA, virtual, cuda:N"});
}

// One ceiling for each accelerator.
std::vector<uint64_t> device_memory_of(const EngineOptions& options) {
  const std::vector<std::string> names = device_list(options.device);
  const size_t devices = names.size();
  std::vector<uint64_t> memory = options.device_memory;
  if (memory.empty()) memory = {0};
  if (memory.size() == 1) memory.resize(devices, memory.front());
  if (memory.size() != devices) {
    throw Error(ErrorCode::invalid_argument,
                "give one device memory for all devices, or one for each",
                {.field = "device_memory",
                 .found = std::to_string(memory.size()) + " figures",
                 .allowed = "1 or " + std::to_string(devices)});
  }
  for (size_t device = 0; device < devices; ++device) {
    if (memory[device] > 0) continue;
    const uint64_t free = free_device_bytes(names[device]);
    memory[device] = free > 0 ? round_down(free / 10 * 9, kDeviceUnit) : kDeviceBytes;
  }
  return memory;
}

// About how many panels a dry run of so many of the workload's rows would follow.
double steps_of(const PlanInput& input, const Chosen& chosen, int64_t most_rows) {
  double panels = 0;
  for (const Visit& visit : chosen.memory.weights.visits) {
    panels += static_cast<double>(visit.panels.size());
  }
  const RequestLengths lengths = request_lengths(input);
  const int64_t asked = input.workload.rows > 0 ? input.workload.rows : most_rows;
  const auto rows = static_cast<double>(std::min(asked, most_rows));
  const double waves = std::ceil(rows / std::max(1, chosen.policy.max_sequences));
  const int64_t reads = ceil_div(lengths.prompt, std::max(1, chosen.policy.prefill_chunk));
  return panels * waves * static_cast<double>(reads + lengths.fresh);
}

}  // namespace

Json policy_json(const ResolvedPolicy& policy) {
  Json json = {{"weight_share", shares_json(policy.weights)},
               {"kv_share", shares_json(policy.kv)},
               {"activation_share", shares_json(policy.activations)},
               {"micro_batch", policy.micro_batch},
               {"micro_batch_tokens", policy.micro_batch_tokens},
               {"micro_batches", policy.micro_batches},
               {"prefill_chunk", policy.prefill_chunk},
               {"share_prefix", policy.share_prefix},
               {"kv_split", policy.kv_split},
               {"admission", policy.admission == Admission::block ? "block" : "continuous"},
               {"lookahead", (policy.lookahead + 1) / 2},
               {"threads", policy.threads},
               {"max_sequences", policy.max_sequences},
               {"page_tokens", policy.page_tokens}};
  if (policy.host_attention) json["host_attention"] = true;
  if (policy.pace > 0) json["pace"] = policy.pace;
  if (policy.sweeps() > 1) json["device_layers"] = policy.device_layers;
  if (policy.ring_slots > 0) json["ring_slots"] = policy.ring_slots;
  json["overlap"] = policy.overlap;
  if (policy.step_barrier) json["step_barrier"] = true;
  if (policy.whole_tensors) json["whole_tensors"] = true;
  return json;
}

EngineOptions with_defaults(EngineOptions options) {
  if (options.threads == 0) options.threads = usable_cores();
  if (options.host_memory == 0) options.host_memory = available_host_bytes() / 5 * 4;
  options.device_memory = device_memory_of(options);
  if (options.disk.empty() && options.disk_memory > 0) {
    throw Error(ErrorCode::invalid_argument, "a disk budget needs a folder", {.field = "disk"});
  }
  if (!options.disk.empty() && options.disk_memory == 0) {
    options.disk_memory = free_disk_bytes(options.disk) / 2;
  }
  return options;
}

bool names_accelerator(const std::string& device) { return device_kind(device) != "cpu"; }

PlanInput plan_input(const EngineOptions& options, const Model& model) {
  PlanInput input;
  input.spec = &model.spec();
  input.weights = &model.weights();
  input.program = &model.program(AttentionForm::within);
  input.apart = &model.program(AttentionForm::apart);
  input.formats = model.formats();
  input.kv = model.kv();
  input.compute = model.compute();
  input.invariant = options.invariant;
  check_compute(options.device, input.compute);
  input.accelerator = names_accelerator(options.device);
  input.threads = options.threads;
  input.host_bytes = options.host_memory;
  if (input.accelerator) input.device_bytes = options.device_memory;
  const DeviceNeeds needs = device_needs(options.device);
  input.own_device_bytes = needs.device_bytes;
  input.own_host_bytes = needs.host_bytes;
  input.disk_bytes = options.disk_memory;
  input.reserved_host_bytes = options.reserved_host_memory;
  const int limit = model.spec().max_positions;
  if (options.max_context > limit) {
    throw Error(ErrorCode::invalid_argument, "more than the model's context",
                {.field = "max_context",
                 .found = std::to_string(options.max_context),
                 .allowed = "1 to " + std::to_string(limit) + ", or 0 for all of it"});
  }
  input.max_context = options.max_context > 0 ? options.max_context : limit;
  input.workload.rows = options.expected_rows;
  if (options.mean_prompt > 0) input.workload.mean_prompt = options.mean_prompt;
  if (options.mean_new > 0) input.workload.mean_new = options.mean_new;
  input.workload.max_prompt = options.max_prompt;
  input.workload.max_new = options.max_new;
  if (!options.machine.empty()) input.machine = machine_from_json(options.machine, "machine");
  return input;
}

Chosen choose(const EngineOptions& options, const PlanInput& input) {
  const bool open = options.policy.empty();
  return choose_policy(input, open ? Policy{} : policy_from_json(options.policy, "policy"));
}

Json describe_plan(const EnginePlan& plan) {
  const ModelSpec& spec = plan.model.spec();
  Json items = Json::array();
  for (const MemoryItem& item : plan.chosen.memory.items) {
    items.push_back({{"tier", place_name({item.tier, item.device})},
                     {"label", item.label},
                     {"bytes", item.bytes}});
  }
  const int head = plan.model.weights().find(Role::head);
  const WeightPlan& weights = plan.chosen.memory.weights;
  return {{"model", plan.options.model},
          {"family", spec.family},
          {"parameters", plan.model.weights().parameters()},
          {"dtype", dtype_name(spec.dtype)},
          {"weights", format(plan.model.formats().at(head)).name},
          {"kv", format(plan.model.kv()).name},
          {"compute", plan.options.compute},
          {"invariant", plan.options.invariant},
          {"device", plan.options.device},
          {"version", version()},
          {"layers", spec.layers.size()},
          {"hidden", spec.hidden},
          {"vocab", spec.vocab},
          {"max_context", plan.input.max_context},
          {"bos", spec.bos},
          {"eos", spec.eos},
          {"policy", policy_json(plan.chosen.policy)},
          {"why", plan.chosen.why},
          {"resident_bytes", weights.resident_bytes[static_cast<int>(Tier::host)]},
          {"streamed_bytes", weights.streamed_bytes},
          {"memory", items},
          {"warnings", plan.model.warnings()}};
}

Json predict(const PlanInput& input, const Chosen& chosen, const std::vector<RowTokens>& rows,
             const PredictOptions& options) {
  DryRunInput job;
  MemoryPlan coarse;
  job.plan = &input;
  job.policy = &chosen.policy;
  job.memory = &chosen.memory;
  if (options.coarse) {
    coarse = chosen.memory;
    coarsen_panels(compute_tier(input), kCoarsePanels, chosen.policy.host_attention, &coarse);
    job.memory = &coarse;
  }
  job.most_rows = options.most_rows;
  for (const RowTokens& row : rows) {
    job.rows.push_back({row.prompt, row.fresh, row.tokens, row.logits});
  }
  if (rows.empty()) job.rows = typical_rows(input, chosen.policy);
  return prediction_json(job, dry_run(job), options.with_sweep);
}

std::string plan(const EngineOptions& given, const std::vector<RowTokens>& rows) {
  return guarded([&] {
    const EngineOptions options = with_defaults(given);
    check_device_kind(options.device);
    throttle_from_json(options.throttle, options.device);
    const Model model(options, WeightFiles::not_needed);
    const PlanInput input = plan_input(options, model);
    const Chosen chosen = choose(options, input);
    Json result = describe_plan({options, model, input, chosen});
    PredictOptions predicted{.most_rows = kPredictedWaves * chosen.policy.max_sequences};
    predicted.coarse = rows.empty() && steps_of(input, chosen, predicted.most_rows) > kMostSteps;
    result["prediction"] = predict(input, chosen, rows, predicted);
    return result.dump();
  });
}

}  // namespace penstock
