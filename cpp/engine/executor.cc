#include "engine/executor.h"

#include <algorithm>
#include <memory>

#include "base/error.h"

namespace penstock {

namespace {

Staging::Parts staging_parts(const ExecutorParts& p) {
  return {p.context, p.spec, p.program, p.weights, p.memory, p.policy, p.compute};
}

VisitRunner::Parts runner_parts(const ExecutorParts& p, const Staging& staging, int device) {
  return {p.spec,
          p.program,
          p.weights,
          p.store,
          &staging.registers(device),
          &p.context->device(device),
          p.memory->kv,
          p.memory->exchange,
          p.compute,
          p.invariant,
          staging.inv_freq(device)};
}

}  // namespace

Executor::Executor(const ExecutorParts& parts) : parts_(parts), staging_(staging_parts(parts)) {
  const PageRules rules{parts.policy->page_tokens, parts.context->accelerator(),
                        parts.policy->host_attention};
  for (int device = 0; device < parts_.policy->split().devices(); ++device) {
    runners_.emplace_back(runner_parts(parts_, staging_, device));
  }
  for (int sweep = 0; sweep < parts_.policy->sweeps(); ++sweep) {
    flights_.push_back(std::make_unique<Flight>(sweep, *parts_.kv, rules));
  }
  if (parts_.memory->exchange_slots == 0) return;
  Context& context = *parts_.context;
  host_attention_ = std::make_unique<HostAttention>(HostAttention::Parts{
      &context.lanes, parts_.spec, parts_.memory->kv, parts_.compute, parts_.memory->exchange,
      context.device().info().host_isa, parts_.policy->threads, context.pin_threads, &context.host,
      context.host_compute});
}

Executor::~Executor() { parts_.context->lanes.recover(); }

void Executor::start(const SweepWork& sweep) {
  const Schedule& schedule = sweep.schedule;
  // Steps follow those of the sweeps in flight, and what the one before them has read ahead.
  first_ids_.push_back(schedule.first_id);
  if (first_ids_.size() > flights_.size() + 1) first_ids_.pop_front();
  std::erase_if(tickets_, [&](const auto& entry) { return entry.first < first_ids_.front(); });
  check(started_ - finished_ < flights_.size(), "a sweep in flight has rows of its own");
  flight_ = flights_[started_++ % flights_.size()].get();
  flight_->binding.bind(sweep.plan);
  flight_->panels.assign(parts_.memory->weights.visits.size(), {});
  PerLane<Ticket> last;
  for (const Step& step : schedule.steps) {
    const Ticket ticket = submit(step);
    last[step.lane] = tickets_[step.id] = poison_released(step, ticket);
  }
  flight_->results.clear();
  for (const auto& [lane, ticket] : last) {
    const bool brings = lane.kind != LaneKind::disk_read && lane.kind != LaneKind::h2d;
    if (brings) flight_->results.push_back(ticket);
  }
}

// Results and spilled pages are complete; prefetches for the next sweep may still be under way.
void Executor::finish() {
  ++finished_;
  for (const Ticket& ticket : landed().results) parts_.context->lanes.wait(ticket);
}

Executor::Flight& Executor::landed() const {
  check(finished_ > 0, "a sweep is over");
  return *flights_[(finished_ - 1) % flights_.size()];
}

std::vector<Ticket> Executor::tickets_of(const Step& step) const {
  std::vector<Ticket> tickets;
  for (const uint64_t id : step.after) {
    const auto found = tickets_.find(id);
    if (found != tickets_.end()) tickets.push_back(found->second);
  }
  return tickets;
}

LaneTask Executor::task(const Step& step) const {
  LaneTask task;
  task.after = tickets_of(step);
  task.bytes = step.bytes;
  task.label = step_label(step.kind);
  task.tag = static_cast<int64_t>(step.id);
  return task;
}

Ticket Executor::submit(const Step& step) {
  switch (step.kind) {
    case StepKind::panel_read:
      return read_panel(step);
    case StepKind::panel_upload:
      return upload_panel(step);
    case StepKind::embed_gather:
      return gather(step);
    case StepKind::embed_upload:
      return upload_gathered(step);
    case StepKind::kv_read:
      return read_kv(step);
    case StepKind::kv_write:
      return write_kv(step);
    case StepKind::activation_read:
      return spill_activations(step, false);
    case StepKind::activation_write:
      return spill_activations(step, true);
    case StepKind::activation_upload:
      return move_activations(step, CopyDirection::h2d);
    case StepKind::activation_download:
      return move_activations(step, CopyDirection::d2h);
    case StepKind::kv_upload:
      return upload_kv(step);
    case StepKind::exchange_download:
      return download_exchange(step);
    case StepKind::host_attention:
      return attend_on_host(step);
    case StepKind::exchange_upload:
      return upload_exchange(step);
    case StepKind::compute:
      return compute(step);
    case StepKind::logits_download:
      return download_logits(step);
    case StepKind::hidden_send:
      return send_hidden(step);
  }
  return {};
}

std::byte* Executor::slot(const Step& step, SlotKind kind) const {
  for (const SlotUse& use : step.slots) {
    if (use.kind == kind) return staging_.slot(kind, device_of(step), use.index);
  }
  return nullptr;
}

const Panel& Executor::panel(const Step& step) const {
  return parts_.memory->weights.visits.at(step.visit).panels.at(step.panel);
}

int Executor::device_of(const Step& step) const {
  return parts_.memory->weights.visits.at(step.visit).device;
}

int Executor::layer(const Step& step) const {
  const Visit& visit = parts_.memory->weights.visits.at(step.visit);
  return parts_.program->modules.at(visit.module).layer;
}

Ticket Executor::read_panel(const Step& step) {
  std::byte* target = slot(step, SlotKind::host_ring);
  const Panel* source = &panel(step);
  auto handle = std::make_shared<AsyncIo::Handle>();  // lives between the two halves of the task
  LaneTask work = task(step);
  work.begin = [this, source, target, handle] {
    const Transfer transfer = parts_.store->read_transfer(*source, target);
    *handle = parts_.context->io.start({&transfer, 1});
  };
  work.finish = [this, source, target, handle] {
    parts_.context->io.wait(*handle);
    parts_.store->finish_read(*source, target);
  };
  return parts_.context->lanes.submit(step.lane, std::move(work));
}

Ticket Executor::upload_panel(const Step& step) {
  const CopyParams copy = parts_.store->upload(panel(step), slot(step, SlotKind::host_ring),
                                               slot(step, SlotKind::device_ring));
  const std::vector<Ticket> after = tickets_of(step);
  return device(step).copy(copy, after, static_cast<int64_t>(step.id));
}

Ticket Executor::gather(const Step& step) {
  const BatchBinding& batch = flight_->binding.batch(step.batch);
  std::byte* target = slot(step, SlotKind::gather);
  auto handle = std::make_shared<AsyncIo::Handle>();
  LaneTask work = task(step);
  work.begin = [this, &batch, target, handle] {
    std::vector<Transfer> transfers;
    parts_.store->gather(parts_.weights->find(Role::token_embed), batch.token_ids, target,
                         transfers);
    const int positions = parts_.weights->find(Role::position_embed);
    if (positions >= 0) {
      std::vector<int32_t> ids = batch.positions;
      for (int32_t& id : ids) id += parts_.spec->position_offset;
      parts_.store->gather(positions, ids, target + staging_.gather_positions_offset(), transfers);
    }
    *handle = parts_.context->io.start(transfers);
  };
  work.finish = [this, handle] { parts_.context->io.wait(*handle); };
  return parts_.context->lanes.submit(step.lane, std::move(work));
}

Ticket Executor::upload_gathered(const Step& step) {
  const std::byte* source = slot(step, SlotKind::gather);
  std::byte* target = slot(step, SlotKind::device_gather);
  Device& to = device(step);
  const int64_t tokens = flight_->binding.batch(step.batch).plan->tokens;
  const auto id = static_cast<int64_t>(step.id);
  const int token_table = parts_.weights->find(Role::token_embed);
  const int position_table = parts_.weights->find(Role::position_embed);
  const size_t bytes = tokens * parts_.store->row_bytes(token_table);
  const Ticket ticket = to.copy({target, source, bytes, CopyDirection::h2d}, tickets_of(step), id);
  if (position_table < 0) return ticket;
  const int64_t offset = staging_.gather_positions_offset();
  const size_t position_bytes = tokens * parts_.store->row_bytes(position_table);
  return to.copy({target + offset, source + offset, position_bytes, CopyDirection::h2d}, {}, id);
}

Ticket Executor::read_kv(const Step& step) {
  std::byte* target = slot(step, SlotKind::kv);
  auto handle = std::make_shared<AsyncIo::Handle>();
  LaneTask work = task(step);
  const SweepBinding& pages = flight_->binding;
  work.begin = [this, &pages, batch = step.batch, layer = layer(step), target, handle] {
    *handle = parts_.context->io.start(pages.page_reads(batch, layer, target));
  };
  work.finish = [this, &pages, batch = step.batch, layer = layer(step), target, handle] {
    parts_.context->io.wait(*handle);
    pages.verify_pages(batch, layer, target);
  };
  return parts_.context->lanes.submit(step.lane, std::move(work));
}

Ticket Executor::write_kv(const Step& step) {
  std::byte* source = slot(step, SlotKind::kv);
  LaneTask work = task(step);
  SweepBinding& pages = flight_->binding;
  work.begin = [this, &pages, batch = step.batch, layer = layer(step), source] {
    const auto handle = parts_.context->io.start(pages.page_writes(batch, layer, source));
    parts_.context->io.wait(handle);
    pages.keep_tails(batch, layer, source);
  };
  return parts_.context->lanes.submit(step.lane, std::move(work));
}

Ticket Executor::spill_activations(const Step& step, bool write) {
  float* rows = parts_.context->accelerator() ? host_hidden(step) : hidden(step);
  const uint64_t own = flight_->binding.batch(step.batch).plan->activation_unit;
  const uint64_t unit = parts_.activations->unit(flight_->number, own);
  LaneTask work = task(step);
  work.begin = [this, rows, unit, write] {
    SpillFile& spill = parts_.activations->spill();
    auto* data = reinterpret_cast<std::byte*>(rows);
    if (write) spill.seal(unit, data);
    Transfer transfer;
    transfer.file = &spill.file();
    transfer.data = data;
    transfer.bytes = spill.unit_bytes();
    transfer.offset = spill.offset(unit);
    transfer.write = write;
    parts_.context->io.wait(parts_.context->io.start({&transfer, 1}));
    if (!write) spill.verify(unit, data);
  };
  return parts_.context->lanes.submit(step.lane, std::move(work));
}

Ticket Executor::move_activations(const Step& step, CopyDirection direction) {
  float* there = hidden(step);
  float* here = host_hidden(step);
  const bool up = direction == CopyDirection::h2d;
  const CopyParams copy{up ? there : here, up ? here : there, step.bytes, direction};
  return copy_all(step, {copy});
}

// From where the step's device has them to where the next one wants them.
Ticket Executor::send_hidden(const Step& step) {
  const int from = device_of(step);
  const int64_t first = flight_->binding.batch(step.batch).plan->first_token;
  const auto rows = [&](int device) {
    return parts_.activations->rows(device, flight_->number, first);
  };
  return copy_all(step, {{rows(from + 1), rows(from), step.bytes, CopyDirection::peer,
                          &parts_.context->device(from + 1)}});
}

// Residual stream of the step's micro-batch where the device computes: its rows in memory, or the
// slot it passes through.
float* Executor::hidden(const Step& step) const {
  const BatchPlan& plan = *flight_->binding.batch(step.batch).plan;
  if (plan.hidden == HiddenHome::here) {
    return parts_.activations->rows(device_of(step), flight_->number, plan.first_token);
  }
  const bool accelerator = parts_.context->accelerator();
  const SlotKind kind = accelerator ? SlotKind::device_activation : SlotKind::activation;
  for (const SlotUse& use : step.slots) {
    if (use.kind == kind) return parts_.activations->slot(device_of(step), use.index);
  }
  return nullptr;  // a later chunk of the head: it reads picked rows only
}

// And in host memory beside an accelerator.
float* Executor::host_hidden(const Step& step) const {
  const BatchPlan& plan = *flight_->binding.batch(step.batch).plan;
  if (plan.hidden == HiddenHome::host) {
    return parts_.activations->host_rows(flight_->number, plan.first_token);
  }
  for (const SlotUse& use : step.slots) {
    if (use.kind == SlotKind::activation) return parts_.activations->host_slot(use.index);
  }
  check(false, "rows on disk pass through a slot");
  return nullptr;
}

// Copies of one step, in order; the first waits for what the step follows.
Ticket Executor::copy_all(const Step& step, const std::vector<CopyParams>& copies) {
  std::vector<Ticket> after = tickets_of(step);
  Ticket ticket;
  for (const CopyParams& copy : copies) {
    ticket = device(step).copy(copy, after, static_cast<int64_t>(step.id));
    after.clear();
  }
  check(ticket.number != 0, "a step of the copy lanes moves something");
  return ticket;
}

Ticket Executor::upload_kv(const Step& step) {
  std::byte* target = slot(step, SlotKind::device_kv);
  return copy_all(step, flight_->binding.page_uploads(step.batch, layer(step),
                                                      slot(step, SlotKind::kv), target));
}

namespace {

// A register of the exchange slots: where it is, bytes of a row.
struct Crossing {
  int64_t offset, row_bytes;
};

void add_copies(const std::vector<RowRange>& ranges, Crossing what, CopyParams slots,
                std::vector<CopyParams>* copies) {
  for (const RowRange& range : ranges) {
    const int64_t at = what.offset + range.begin * what.row_bytes;
    copies->push_back({static_cast<std::byte*>(slots.destination) + at,
                       static_cast<const std::byte*>(slots.source) + at,
                       static_cast<size_t>((range.end - range.begin) * what.row_bytes),
                       slots.direction});
  }
}

}  // namespace

Ticket Executor::download_exchange(const Step& step) {
  const ExchangeLayout& layout = parts_.memory->exchange;
  const CopyParams slots{slot(step, SlotKind::exchange), slot(step, SlotKind::device_exchange), 0,
                         CopyDirection::d2h};
  const std::vector<RowRange> stored = flight_->binding.stored_rows(step.batch);
  std::vector<CopyParams> copies;
  add_copies(flight_->binding.hosted_rows(step.batch, false),
             {layout.q_offset(), layout.q_width * 4}, slots, &copies);
  add_copies(stored, {layout.k_offset(), layout.kv_width * 4}, slots, &copies);
  add_copies(stored, {layout.v_offset(), layout.kv_width * 4}, slots, &copies);
  return copy_all(step, copies);
}

Ticket Executor::attend_on_host(const Step& step) {
  if (std::byte* pages = slot(step, SlotKind::kv)) {
    flight_->binding.place_host_pages(step.batch, layer(step), pages);
  }
  const LayerSpans& spans = flight_->binding.batch(step.batch).layers.at(layer(step));
  return host_attention_->run(spans, layer(step), slot(step, SlotKind::exchange), task(step));
}

Ticket Executor::upload_exchange(const Step& step) {
  const ExchangeLayout& layout = parts_.memory->exchange;
  const CopyParams slots{slot(step, SlotKind::device_exchange), slot(step, SlotKind::exchange), 0,
                         CopyDirection::h2d};
  std::vector<CopyParams> copies;
  add_copies(flight_->binding.hosted_rows(step.batch, false),
             {layout.attended_offset(), layout.q_width * 4}, slots, &copies);
  add_copies(flight_->binding.hosted_rows(step.batch, true),
             {layout.states_offset(), layout.heads * kAttentionStateBytes}, slots, &copies);
  return copy_all(step, copies);
}

// A compute step lists the slots of the visit's streamed panels first, in the order of the panels.
void Executor::bind_panels(const Step& step) {
  const Visit& visit = parts_.memory->weights.visits.at(step.visit);
  const auto& matrices = parts_.program->modules.at(visit.module).matrices;
  const Tier compute = parts_.context->device().info().memory;
  auto& bound = flight_->panels.at(step.visit);
  bound.resize(matrices.size());
  size_t next = 0;
  for (const Panel& panel : visit.panels) {
    const auto matrix = std::find(matrices.begin(), matrices.end(), panel.weight);
    auto& list = bound.at(matrix - matrices.begin());
    if (!is_streamed(panel, compute)) {
      list.push_back(parts_.store->resident(panel));
      continue;
    }
    const SlotUse& use = step.slots.at(next++);
    const std::byte* data = staging_.slot(use.kind, visit.device, use.index);
    list.push_back(compute == Tier::device ? parts_.store->uploaded(panel, data)
                                           : parts_.store->staged(panel, data));
  }
}

Ticket Executor::compute(const Step& step) {
  const Visit& visit = parts_.memory->weights.visits.at(step.visit);
  if (flight_->panels.at(step.visit).empty()) bind_panels(step);
  if (std::byte* pages = slot(step, SlotKind::kv)) {
    flight_->binding.place_host_pages(step.batch, layer(step), pages);
  }
  if (std::byte* pages = slot(step, SlotKind::device_kv)) {
    flight_->binding.place_device_pages(step.batch, layer(step), pages);
  }
  const bool accelerator = parts_.context->accelerator();
  VisitBinding binding;
  binding.visit = &visit;
  binding.panels = &flight_->panels.at(step.visit);
  binding.head = &staging_.head(flight_->number).memory;
  binding.batch = &flight_->binding.batch(step.batch);
  binding.hidden = hidden(step);
  binding.exchange = slot(step, SlotKind::device_exchange);
  binding.gathered = slot(step, accelerator ? SlotKind::device_gather : SlotKind::gather);
  binding.gathered_positions_offset = staging_.gather_positions_offset();
  const std::vector<Ticket> after = tickets_of(step);
  return runners_.at(visit.device).run(binding, after, static_cast<int64_t>(step.id));
}

Ticket Executor::download_logits(const Step& step) {
  const BatchBinding& batch = flight_->binding.batch(step.batch);
  const Staging::Head& head = staging_.head(flight_->number);
  Device& from = device(step);
  const auto id = static_cast<int64_t>(step.id);
  std::vector<Ticket> after = tickets_of(step);
  Ticket ticket;
  const auto bring = [&](auto* to, const auto* source, RowRange range) {
    const size_t bytes = static_cast<size_t>(range.end - range.begin) * sizeof(*to);
    ticket =
        from.copy({to + range.begin, source + range.begin, bytes, CopyDirection::d2h}, after, id);
  };
  const int64_t vocab = parts_.spec->vocab, first = batch.first_logits;
  for (const RowRange& rows : batch.logits_down) {
    bring(head.host_logits, head.memory.logits,
          {(first + rows.begin) * vocab, (first + rows.end) * vocab});
  }
  for (const RowRange& rows : batch.tokens_down) {
    bring(head.host_tokens, head.memory.tokens, {first + rows.begin, first + rows.end});
  }
  if (batch.plan->score_rows > 0) {
    bring(head.host_states, head.memory.states,
          {batch.first_score, batch.first_score + batch.plan->score_rows});
  }
  return ticket;
}

const float* Executor::logits(int64_t row) const {
  return staging_.head(landed().number).host_logits + row * parts_.spec->vocab;
}

int32_t Executor::token(int64_t row) const {
  return staging_.head(landed().number).host_tokens[row];
}

const ScoreState* Executor::score(int64_t index) const {
  return staging_.head(landed().number).host_states + index;
}

// Tells an accelerator that the slots a step released hold nothing any more. Later users follow the
// poisoning.
Ticket Executor::poison_released(const Step& step, Ticket ticket) {
  if (!parts_.context->accelerator() || step.kind != StepKind::compute) return ticket;
  for (const SlotUse& use : step.slots) {
    const bool staging = use.kind == SlotKind::device_ring || use.kind == SlotKind::device_kv ||
                         use.kind == SlotKind::device_exchange;
    if (!use.release || !staging) continue;
    const CopyParams dead{staging_.slot(use.kind, device_of(step), use.index), nullptr,
                          staging_.slot_bytes(use.kind), CopyDirection::within};
    ticket = device(step).copy(dead, {}, static_cast<int64_t>(step.id));
  }
  return ticket;
}

}  // namespace penstock
