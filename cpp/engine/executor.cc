#include "engine/executor.h"

#include "base/error.h"

namespace penstock {
namespace {

Staging::Parts staging_parts(const ExecutorParts& p) {
  return {p.context, p.spec, p.program, p.weights, p.memory, p.policy, p.compute};
}

}  // namespace

Executor::Executor(const ExecutorParts& parts)
    : parts_(parts),
      staging_(staging_parts(parts)),
      places_(parts_, staging_),
      disk_(parts_, staging_, places_),
      copies_(parts_, staging_, places_),
      compute_(parts_, staging_, places_) {
  const PageRules rules{parts.policy->page_tokens, parts.context->accelerator(),
                        parts.policy->host_attention};
  for (int sweep = 0; sweep < parts_.policy->sweeps(); ++sweep) {
    sweeps_.push_back(std::make_unique<BoundSweep>(sweep, *parts_.kv, rules));
  }
}

Executor::~Executor() { parts_.context->lanes.recover(); }

// Steps follow those of the sweeps in flight, and what the one before them has read ahead.
void Executor::forget_old_tickets(const Schedule& schedule) {
  first_ids_.push_back(schedule.first_id);
  if (first_ids_.size() > sweeps_.size() + 1) first_ids_.pop_front();
  std::erase_if(tickets_, [&](const auto& entry) { return entry.first < first_ids_.front(); });
}

void Executor::start(const SweepWork& work) {
  check(started_ - finished_ < sweeps_.size(), "a sweep in flight has rows of its own");
  forget_old_tickets(work.schedule);
  BoundSweep& sweep = *sweeps_[started_++ % sweeps_.size()];
  sweep.binding.bind(work.plan);
  sweep.panels.assign(parts_.memory->weights.visits.size(), {});
  PerLane<Ticket> last;
  for (const Step& step : work.schedule.steps) {
    const Ticket ticket = submit({step, sweep, tickets_of(step)});
    last[step.lane] = tickets_[step.id] = copies_.poison_released(step, ticket);
  }
  sweep.results.clear();
  for (const auto& [lane, ticket] : last) {
    const bool brings = lane.kind != LaneKind::disk_read && lane.kind != LaneKind::h2d;
    if (brings) sweep.results.push_back(ticket);
  }
}

// Results and spilled pages are complete; prefetches for the next sweep may still be under way.
void Executor::finish() {
  check(finished_ < started_, "a sweep is in flight");
  const BoundSweep& sweep = *sweeps_[finished_++ % sweeps_.size()];
  for (const Ticket& ticket : sweep.results) parts_.context->lanes.wait(ticket);
}

std::vector<Ticket> Executor::tickets_of(const Step& step) const {
  std::vector<Ticket> tickets;
  for (const uint64_t id : step.after) {
    const auto found = tickets_.find(id);
    if (found != tickets_.end()) tickets.push_back(found->second);
  }
  return tickets;
}

Ticket Executor::submit(const StepCall& call) {
  switch (call.step.kind) {
    case StepKind::panel_read:
      return disk_.read_panel(call);
    case StepKind::panel_upload:
      return copies_.upload_panel(call);
    case StepKind::embed_gather:
      return disk_.gather(call);
    case StepKind::embed_upload:
      return copies_.upload_gathered(call);
    case StepKind::kv_read:
      return disk_.read_kv(call);
    case StepKind::kv_write:
      return disk_.write_kv(call);
    case StepKind::activation_read:
      return disk_.read_hidden(call);
    case StepKind::activation_write:
      return disk_.write_hidden(call);
    case StepKind::activation_upload:
      return copies_.upload_hidden(call);
    case StepKind::activation_download:
      return copies_.download_hidden(call);
    case StepKind::kv_upload:
      return copies_.upload_kv(call);
    case StepKind::exchange_download:
      return copies_.download_exchange(call);
    case StepKind::host_attention:
      return compute_.attend_on_host(call);
    case StepKind::exchange_upload:
      return copies_.upload_exchange(call);
    case StepKind::compute:
      return compute_.compute(call);
    case StepKind::logits_download:
      return copies_.download_results(call);
    case StepKind::hidden_send:
      return copies_.send_hidden(call);
  }
  return {};
}

const Staging::Head& Executor::results() const {
  check(finished_ > 0, "a sweep is over");
  return staging_.head(static_cast<int>((finished_ - 1) % sweeps_.size()));
}

const float* Executor::logits(int64_t row) const {
  return results().host_logits + row * parts_.spec->vocab;
}

int32_t Executor::token(int64_t row) const { return results().host_tokens[row]; }

const ScoreState* Executor::score(int64_t index) const { return results().host_states + index; }

}  // namespace penstock
