// The public Engine: opens a model, plans, allocates everything once, then hands requests to the
// generator.
#include "penstock/engine.h"

#include <map>

#include "base/error.h"
#include "base/trace.h"
#include "engine/assembly.h"
#include "engine/guarded.h"

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

}  // namespace

struct Engine::State {
  State(const EngineOptions& given, const PackProgress& packing)
      : parts(given, packing),
        executor(parts.executor_parts()),
        generator(parts.generator_parts(&executor)) {
    for (const MemoryItem& item : parts.chosen.memory.items) {
      if (item.label == "engine") tables = parts.context.host.reserve(item.bytes, item.label);
    }
    LaneSet& lanes = parts.context.lanes;
    for (const LaneId lane : lanes.lanes()) before[lane] = lanes.stats(lane);
  }

  Assembly parts;
  Executor executor;
  Generator generator;
  Reservation tables;         // page tables, steps, queues: paid when all else is there
  PerLane<LaneStats> before;  // what loading did on the lanes
};

Engine::Engine(const EngineOptions& options, const PackProgress& packing)
    : state_(guarded([&] { return std::make_unique<State>(options, packing); })) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

uint64_t Engine::submit(const Request& request) {
  return guarded([&] { return state_->generator.submit(request); });
}

std::vector<Event> Engine::step() {
  return guarded([&] { return state_->generator.step(); });
}

bool Engine::idle() const { return state_->generator.idle(); }

void Engine::cancel(uint64_t request) {
  guarded([&] { state_->generator.cancel(request); });
}

std::vector<float> Engine::logits(const std::vector<int32_t>& tokens) {
  return guarded([&] { return state_->generator.logits(tokens); });
}

Stats Engine::stats() const {
  const Generator::Counts counts = state_->generator.counts();
  Context& context = state_->parts.context;
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
    return penstock::predict(state_->parts.input, state_->parts.chosen, rows, {most_rows, false})
        .dump();
  });
}

std::string Engine::describe() const {
  const Assembly& parts = state_->parts;
  Json result = describe_plan({parts.options, parts.model, parts.input, parts.chosen});
  if (parts.context.devices.size() == 1) {
    result["device"] = parts.context.device().info().name;
  }
  const DeviceInfo& info = parts.context.device().info();
  result["isa"] = info.isa;
  if (!info.products.empty()) result["products"] = info.products;
  if (!parts.options.throttle.empty()) {
    result["throttle"] = parse_strict_json(parts.options.throttle, "throttle");
  }
  result["packed_now"] = parts.packed != nullptr && parts.packed->packed_now();
  return result.dump();
}

int Engine::vocab() const { return state_->parts.model.spec().vocab; }
int Engine::max_context() const { return state_->parts.input.max_context; }
void Engine::record_trace(bool on) { state_->parts.context.lanes.record_events(on); }

std::string Engine::take_trace() { return chrome_trace(state_->parts.context.lanes.take_events()); }

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
