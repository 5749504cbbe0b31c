// The public Engine: opens a model, plans, allocates everything once, then hands requests to the
// generator.
#include "penstock/engine.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/trace.h"
#include "engine/executor.h"
#include "engine/generator.h"
#include "engine/guarded.h"
#include "engine/model.h"
#include "engine/planning.h"
#include "engine/throttle.h"

namespace penstock {

namespace {

// The last sweep may still be reading for one that never came; its bytes belong to the sums. An
// error in there is the next step's to report.
void settle(LaneSet& lanes) {
  try {
    lanes.wait_all();
  } catch (const Error&) {
    return;
  }
}

ContextOptions context_options(const EngineOptions& options, int threads, Compute compute) {
  ContextOptions context;
  context.host_bytes = options.host_memory;
  if (names_accelerator(options.device)) context.device_bytes = options.device_memory;
  context.disk_bytes = options.disk_memory;
  context.reserved_host_bytes = options.reserved_host_memory;
  context.device.spec = options.device;
  context.device.threads = threads;
  context.device.pin_threads = options.pin_threads;
  context.device.compute = compute;
  context.device.cublaslt = options.cublaslt;
  context.device.delay_seed = options.delay_seed;
  const Throttle throttle = throttle_from_json(options.throttle, options.device);
  context.disk_read_bytes_per_second = throttle.disk_read;
  context.disk_write_bytes_per_second = throttle.disk_write;
  context.host_attention_bytes_per_second = throttle.host_attention;
  context.device.h2d_bytes_per_second = throttle.h2d;
  context.device.d2h_bytes_per_second = throttle.d2h;
  context.device.flops_per_second = throttle.gemm;
  context.device.attention_bytes_per_second = throttle.attention;
  return context;
}

}  // namespace

struct Engine::State {
  explicit State(const EngineOptions& given)
      : options(with_defaults(given)),
        model(options, WeightFiles::needed),
        input(plan_input(options, model)),
        chosen(choose(options, input)),
        context(context_options(options, chosen.policy.threads, input.compute)),
        packed(model.open_packed(options, chosen.policy.threads, context.host)) {
    load();
  }

  void load() {
    WeightStoreInput weights;
    weights.list = &model.weights();
    weights.plan = &chosen.memory.weights;
    weights.source = &model.source();
    weights.packed = packed;
    weights.split = chosen.policy.split();
    weights.devices = context.compute_memories();
    weights.host = &context.host;
    weights.threads = chosen.policy.threads;
    store.emplace(weights);
    load_caches();
    const Program& program = program_of(input, chosen.policy);
    executor.emplace(ExecutorParts{&context, &model.spec(), &program, &model.weights(),
                                   &chosen.memory, &chosen.policy, &*store, &*kv, &*activations,
                                   model.compute(), options.invariant});
    GeneratorParts parts;
    parts.runner = &*executor;
    parts.spec = &model.spec();
    parts.program = &program;
    parts.weights = &model.weights();
    parts.memory = &chosen.memory;
    parts.policy = &chosen.policy;
    parts.kv = &*kv;
    parts.lanes = &context.lanes;
    parts.accelerator = context.accelerator();
    parts.threads = chosen.policy.threads;
    parts.max_context = input.max_context;
    generator.emplace(parts);
    for (const MemoryItem& item : chosen.memory.items) {
      if (item.label == "engine") tables = context.host.reserve(item.bytes, item.label);
    }
    for (const LaneId lane : context.lanes.lanes()) before[lane] = context.lanes.stats(lane);
  }

  void load_caches() {
    const MemoryPlan& memory = chosen.memory;
    KvStoreInput kv_input;
    kv_input.layout = memory.kv;
    kv_input.layers = static_cast<int>(model.spec().layers.size());
    kv_input.blocks = memory.kv_blocks;
    kv_input.host_blocks = memory.kv_host_blocks;
    kv_input.disk_bytes = memory.kv_disk_bytes;
    kv_input.folder = options.disk;
    kv_input.split = chosen.policy.split();
    kv_input.devices = context.compute_memories();
    kv_input.host = &context.host;
    kv_input.disk = &context.disk;
    kv.emplace(kv_input);
    ActivationStoreInput rows;
    rows.hidden = model.spec().hidden;
    rows.memory_tokens = memory.hidden_tokens;
    rows.host_tokens = memory.hidden_host_tokens;
    rows.batch_tokens = chosen.policy.micro_batch_tokens;
    rows.disk_batches = memory.hidden_disk_tokens / std::max(1, chosen.policy.micro_batch_tokens);
    rows.slots = memory.activation_slots;
    rows.host_slots = memory.activation_host_slots;
    rows.folder = options.disk;
    rows.sweeps = chosen.policy.sweeps();
    rows.devices = context.compute_memories();
    rows.host = &context.host;
    rows.disk = &context.disk;
    activations.emplace(rows);
  }

  // Order matters: what is below uses what is above.
  EngineOptions options;
  Model model;
  PlanInput input;
  Chosen chosen;
  Context context;
  const PackedCache* packed = nullptr;
  Reservation tables;  // page tables, steps, queues: paid when the loader's buffers are gone
  std::optional<WeightStore> store;
  std::optional<KvStore> kv;
  std::optional<ActivationStore> activations;
  std::optional<Executor> executor;
  std::optional<Generator> generator;
  PerLane<LaneStats> before;  // what loading did on the lanes
};

Engine::Engine(const EngineOptions& options)
    : state_(guarded([&] { return std::make_unique<State>(options); })) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

uint64_t Engine::submit(const Request& request) {
  return guarded([&] { return state_->generator->submit(request); });
}

std::vector<Event> Engine::step() {
  return guarded([&] { return state_->generator->step(); });
}

bool Engine::idle() const { return state_->generator->idle(); }

void Engine::cancel(uint64_t request) {
  guarded([&] { state_->generator->cancel(request); });
}

std::vector<float> Engine::logits(const std::vector<int32_t>& tokens) {
  return guarded([&] { return state_->generator->logits(tokens); });
}

Stats Engine::stats() const {
  const Generator::Counts counts = state_->generator->counts();
  Context& context = state_->context;
  if (counts.active + counts.waiting == 0) settle(context.lanes);
  Stats stats;
  stats.seconds = counts.seconds;
  stats.busiest_seconds = counts.busiest_seconds;
  stats.sweeps = counts.sweeps;
  stats.prompt_tokens = counts.prompt_tokens;
  stats.shared_tokens = counts.shared_tokens;
  stats.generated_tokens = counts.generated_tokens;
  stats.active = counts.active;
  stats.waiting = counts.waiting;
  for (const LaneId lane : context.lanes.lanes()) {
    const LaneStats now = context.lanes.stats(lane), before = state_->before.at(lane);
    stats.lanes[lane_name(lane)] = {now.busy_seconds - before.busy_seconds,
                                    now.bytes - before.bytes, now.tasks - before.tasks};
    const auto planned = counts.lane_bytes.find(lane);
    stats.predicted_bytes[lane_name(lane)] =
        planned == counts.lane_bytes.end() ? 0 : planned->second;
  }
  std::vector<const Budget*> budgets = {&context.host, &context.disk};
  for (const Budget& budget : context.device_memory) budgets.push_back(&budget);
  for (const Budget* budget : budgets) {
    const std::string tier = place_name(budget->place());
    stats.peak_bytes[tier] = budget->peak();
    stats.budget_bytes[tier] = budget->limit();
  }
  for (const auto& [label, bytes] : context.host.peak_by_label()) stats.host_items[label] = bytes;
  return stats;
}

std::string Engine::predict(const std::vector<RowTokens>& rows, int64_t most_rows) const {
  return guarded([&] {
    return penstock::predict(state_->input, state_->chosen, rows, {most_rows, false}).dump();
  });
}

std::string Engine::describe() const {
  const State& state = *state_;
  Json result = describe_plan({state.options, state.model, state.input, state.chosen});
  if (state.context.devices.size() == 1) {
    result["device"] = state.context.device().info().name;
  }
  const DeviceInfo& info = state.context.device().info();
  result["isa"] = info.isa;
  if (!info.products.empty()) result["products"] = info.products;
  if (!state.options.throttle.empty()) {
    result["throttle"] = parse_strict_json(state.options.throttle, "throttle");
  }
  result["packed_now"] = state.packed != nullptr && state.packed->packed_now();
  return result.dump();
}

int Engine::vocab() const { return state_->model.spec().vocab; }
int Engine::max_context() const { return state_->input.max_context; }
void Engine::record_trace(bool on) { state_->context.lanes.record_events(on); }

std::string Engine::take_trace() { return chrome_trace(state_->context.lanes.take_events()); }

std::vector<std::string> dummy_names() { return shape_names(); }

std::string dummy_config(const std::string& name) {
  return guarded([&] { return shape_config(name); });
}

std::vector<std::pair<std::string, std::vector<int64_t>>> dummy_weights(const std::string& name) {
  return guarded([&] {
    const ModelConfig config = parse_config(shape_config(name), name);
    const WeightList list(config.spec, *config.family);
    std::map<std::string, std::vector<int64_t>> shapes;  // a tied head has its embedding's name
    for (const WeightInfo& w : list.all()) {
      const bool vector = w.kind == WeightKind::vector;
      shapes[w.name] = vector ? std::vector<int64_t>{w.cols} : std::vector<int64_t>{w.rows, w.cols};
    }
    return std::vector<std::pair<std::string, std::vector<int64_t>>>(shapes.begin(), shapes.end());
  });
}

}  // namespace penstock
