#include "engine/generator.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"

namespace penstock {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

RequestCheck::Parts check_parts(const GeneratorParts& p) {
  return {p.spec, p.memory, p.policy, p.kv, p.accelerator, p.max_context};
}

SweepsInFlight::Parts sweep_parts(const GeneratorParts& p) {
  return {p.runner, p.program, {p.spec, p.weights, p.memory, p.policy, p.accelerator}};
}

}  // namespace

Generator::Generator(const GeneratorParts& parts)
    : parts_(parts),
      check_(check_parts(parts)),
      pool_(*parts.memory, *parts.policy, *parts.kv, parts.accelerator),
      sweeps_(sweep_parts(parts)),
      collector_(*parts.runner, *parts.spec, parts.threads) {
  add_busiest_lane();
  counts_.busiest_seconds = 0;  // what loading did is no sweep's
}

uint64_t Generator::submit(const Request& request) {
  check_.check_terms(request);
  auto live = std::make_unique<LiveRequest>();
  live->id = next_id_++;
  live->asked = request;
  live->tokens = request.tokens;
  live->prompt_tokens = static_cast<int64_t>(request.tokens.size());
  check_.check_room(*live);
  const uint64_t id = live->id;
  pool_.add(std::move(live));
  return id;
}

std::vector<Event> Generator::step() {
  pool_.admit();
  if (pool_.active().empty()) return {};
  const double begin = seconds_now();
  while (static_cast<int>(sweeps_.size()) < parts_.policy->sweeps() && start_next()) {
  }
  check(!sweeps_.empty(), "every sweep carries a request");
  std::vector<Event> events = finish_oldest();
  counts_.seconds += seconds_now() - begin;
  return events;
}

// A sweep for the next cohort that has none in flight and requests to serve.
bool Generator::start_next() {
  for (int i = 0; i < parts_.policy->sweeps(); ++i) {
    const int cohort = next_cohort_;
    next_cohort_ = (next_cohort_ + 1) % parts_.policy->sweeps();
    if (!sweeps_.serves(cohort) && start(cohort)) return true;
  }
  return false;
}

bool Generator::start(int cohort) {
  std::vector<LiveRequest*> requests = pool_.in_service(cohort);
  if (requests.empty() || !pool_.reserve_pages(&requests, !sweeps_.empty())) return false;
  ServedSweep sweep = sweeps_.plan(cohort, std::move(requests));
  if (sweep.empty()) return false;
  sweeps_.start(std::move(sweep), pool_.ends_with_sweeps_in_flight());
  return true;
}

std::vector<Event> Generator::finish_oldest() {
  const ServedSweep sweep = sweeps_.finish_oldest();
  ++counts_.sweeps;
  add_busiest_lane();
  Collector::Collected collected = collector_.collect(sweep);
  counts_.prompt_tokens += collected.prompt_tokens;
  counts_.generated_tokens += collected.generated_tokens;
  pool_.settle_prefixes();
  for (const uint64_t id : collected.finished) pool_.leave(id);
  for (const uint64_t id : collected.cancelled) pool_.remove(id);
  return std::move(collected.events);
}

// Work for the next sweep counts in this one when a lane finished it here.
void Generator::add_busiest_lane() {
  if (parts_.lanes == nullptr) return;
  const LaneSet& lanes = *parts_.lanes;
  double busiest = 0;
  for (const LaneId lane : lanes.lanes()) {
    double& before = lane_seconds_[lane];
    const double now = lanes.stats(lane).busy_seconds;
    busiest = std::max(busiest, now - before);
    before = now;
  }
  counts_.busiest_seconds += busiest;
}

std::vector<float> Generator::logits(const std::vector<int32_t>& tokens) {
  if (!idle()) {
    throw Error(ErrorCode::invalid_argument, "logits() needs an idle engine",
                {.file = "",
                 .field = "tokens",
                 .found = "requests in flight",
                 .allowed = "an idle engine"});
  }
  Request request;
  request.tokens = tokens;
  request.all_logits = true;
  submit(request);
  for (;;) {
    const std::vector<Event> events = step();
    if (!events.empty() && events.front().finished) break;
  }
  return pool_.take_logits();
}

Generator::Counts Generator::counts() const {
  Counts counts = counts_;
  counts.shared_tokens = pool_.shared_tokens();
  counts.lane_bytes = sweeps_.lane_bytes();
  counts.active = pool_.active().size();
  counts.waiting = pool_.waiting();
  return counts;
}

}  // namespace penstock
