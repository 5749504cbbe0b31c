#include "engine/executor.h"

#include <algorithm>
#include <memory>

#include "base/error.h"

namespace penstock {

namespace {

Staging::Parts staging_parts(const ExecutorParts& p) {
  return {p.context, p.spec, p.program, p.weights, p.memory, p.policy, p.exact};
}

VisitRunner::Parts runner_parts(const ExecutorParts& p, const Staging& staging) {
  return {p.spec,
          p.program,
          p.weights,
          p.store,
          &staging.registers(),
          p.context->device.get(),
          p.memory->kv,
          p.exact,
          staging.inv_freq()};
}

const char* step_label(StepKind kind) {
  switch (kind) {
    case StepKind::panel_read:
      return "weights read";
    case StepKind::panel_upload:
      return "weights upload";
    case StepKind::embed_gather:
      return "embedding rows";
    case StepKind::embed_upload:
      return "embedding upload";
    case StepKind::kv_read:
      return "kv read";
    case StepKind::kv_write:
      return "kv write";
    case StepKind::activation_read:
      return "activations read";
    case StepKind::activation_write:
      return "activations write";
    case StepKind::compute:
      return "compute";
    case StepKind::logits_download:
      return "logits download";
  }
  return "";
}

}  // namespace

Executor::Executor(const ExecutorParts& parts)
    : parts_(parts),
      staging_(staging_parts(parts)),
      runner_(runner_parts(parts, staging_), staging_.head()),
      binding_(*parts.kv) {
  panels_.resize(parts_.memory->weights.visits.size());
}

Executor::~Executor() { parts_.context->lanes.recover(); }

BuildOptions Executor::build_options() const {
  BuildOptions options;
  options.accelerator = parts_.context->accelerator();
  options.host_ring_slots = parts_.memory->ring_slots;
  options.device_ring_slots = parts_.memory->device_ring_slots;
  options.kv_slots = parts_.memory->kv_staging_slots;
  options.activation_slots = parts_.memory->activation_slots;
  options.lookahead = parts_.policy->lookahead;
  return options;
}

uint64_t Executor::kv_staging_bytes(const BatchPlan& plan) const {
  return binding_.disk_bytes(plan).staging;
}

std::vector<BatchShape> Executor::shapes(const SweepPlan& sweep) const {
  const bool accelerator = parts_.context->accelerator();
  const int token_table = parts_.weights->find(Role::token_embed);
  const int position_table = parts_.weights->find(Role::position_embed);
  std::vector<BatchShape> shapes;
  for (const BatchPlan& plan : sweep.batches) {
    BatchShape& shape = shapes.emplace_back();
    shape.tokens = plan.tokens;
    shape.head_rows = plan.head_rows();
    for (const SpanPlan& span : plan.spans) {
      shape.gather_disk_bytes += parts_.store->table_disk_bytes(token_table, span.tokens);
      if (position_table < 0) continue;
      std::vector<int32_t> ids;
      for (int32_t i = 0; i < span.count(); ++i) {
        ids.push_back(span.position + i + parts_.spec->position_offset);
      }
      shape.gather_disk_bytes += parts_.store->table_disk_bytes(position_table, ids);
    }
    const auto disk = binding_.disk_bytes(plan);
    shape.kv_read_bytes = disk.read;
    shape.kv_write_bytes = disk.write;
    shape.kv_on_disk = disk.any;
    shape.activations_on_disk = plan.activation_unit >= 0;
    if (shape.activations_on_disk) shape.activation_bytes = parts_.activations->unit_bytes();
    if (!accelerator) continue;
    shape.gather_upload_bytes = plan.tokens * parts_.store->row_bytes(token_table);
    if (position_table >= 0) {
      shape.gather_upload_bytes += plan.tokens * parts_.store->row_bytes(position_table);
    }
    shape.logits_bytes = plan.logits_rows * parts_.spec->vocab * sizeof(float) +
                         plan.score_rows * sizeof(ScoreState);
  }
  return shapes;
}

void Executor::run(const SweepPlan& sweep, const Schedule& schedule) {
  std::erase_if(tickets_, [&](const auto& entry) { return entry.first < previous_first_id_; });
  previous_first_id_ = schedule.first_id;
  binding_.bind(sweep);
  for (auto& visit : panels_) visit.clear();
  for (const Step& step : schedule.steps) {
    const Ticket ticket = submit(step);
    tickets_[step.id] = poison_released(step, ticket);
  }
  finish(schedule);
}

// Results and spilled pages are complete; prefetches for the next sweep may still be under way.
void Executor::finish(const Schedule& schedule) {
  Ticket compute, write, download;
  for (const Step& step : schedule.steps) {
    if (step.lane.kind == LaneKind::compute) compute = tickets_[step.id];
    if (step.lane.kind == LaneKind::disk_write) write = tickets_[step.id];
    if (step.lane.kind == LaneKind::d2h) download = tickets_[step.id];
  }
  for (const Ticket ticket : {compute, write, download}) {
    if (ticket.number != 0) parts_.context->lanes.wait(ticket);
  }
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
      return move_activations(step, false);
    case StepKind::activation_write:
      return move_activations(step, true);
    case StepKind::compute:
      return compute(step);
    case StepKind::logits_download:
      return download_logits(step);
  }
  return {};
}

std::byte* Executor::slot(const Step& step, SlotKind kind) const {
  for (const SlotUse& use : step.slots) {
    if (use.kind == kind) return staging_.slot(kind, use.index);
  }
  return nullptr;
}

const Panel& Executor::panel(const Step& step) const {
  return parts_.memory->weights.visits.at(step.visit).panels.at(step.panel);
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
  return parts_.context->device->copy(copy, after, static_cast<int64_t>(step.id));
}

Ticket Executor::gather(const Step& step) {
  const BatchBinding& batch = binding_.batch(step.batch);
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
  Device& device = *parts_.context->device;
  const int64_t tokens = binding_.batch(step.batch).plan->tokens;
  const auto id = static_cast<int64_t>(step.id);
  const int token_table = parts_.weights->find(Role::token_embed);
  const int position_table = parts_.weights->find(Role::position_embed);
  const size_t bytes = tokens * parts_.store->row_bytes(token_table);
  const Ticket ticket =
      device.copy({target, source, bytes, CopyDirection::h2d}, tickets_of(step), id);
  if (position_table < 0) return ticket;
  const int64_t offset = staging_.gather_positions_offset();
  const size_t position_bytes = tokens * parts_.store->row_bytes(position_table);
  return device.copy({target + offset, source + offset, position_bytes, CopyDirection::h2d}, {},
                     id);
}

Ticket Executor::read_kv(const Step& step) {
  std::byte* target = slot(step, SlotKind::kv);
  auto handle = std::make_shared<AsyncIo::Handle>();
  LaneTask work = task(step);
  work.begin = [this, batch = step.batch, layer = layer(step), target, handle] {
    *handle = parts_.context->io.start(binding_.page_reads(batch, layer, target));
  };
  work.finish = [this, batch = step.batch, layer = layer(step), target, handle] {
    parts_.context->io.wait(*handle);
    binding_.verify_pages(batch, layer, target);
  };
  return parts_.context->lanes.submit(step.lane, std::move(work));
}

Ticket Executor::write_kv(const Step& step) {
  std::byte* source = slot(step, SlotKind::kv);
  LaneTask work = task(step);
  work.begin = [this, batch = step.batch, layer = layer(step), source] {
    const auto handle = parts_.context->io.start(binding_.page_writes(batch, layer, source));
    parts_.context->io.wait(handle);
    binding_.keep_tails(batch, layer, source);
  };
  return parts_.context->lanes.submit(step.lane, std::move(work));
}

Ticket Executor::move_activations(const Step& step, bool write) {
  float* rows = hidden(step);
  const uint64_t unit = binding_.batch(step.batch).plan->activation_unit;
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

// Residual stream of the step's micro-batch: its rows in memory, or the slot it passes through.
float* Executor::hidden(const Step& step) const {
  const BatchPlan& plan = *binding_.batch(step.batch).plan;
  if (plan.activation_unit < 0) return parts_.activations->rows(plan.first_token);
  for (const SlotUse& use : step.slots) {
    if (use.kind == SlotKind::activation) return parts_.activations->slot(use.index);
  }
  return nullptr;  // a later chunk of the head: it reads picked rows only
}

// A compute step lists the slots of the visit's streamed panels first, in the order of the panels.
void Executor::bind_panels(const Step& step) {
  const Visit& visit = parts_.memory->weights.visits.at(step.visit);
  const auto& matrices = parts_.program->modules.at(visit.module).matrices;
  const Tier compute = parts_.context->device->info().memory;
  auto& bound = panels_.at(step.visit);
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
    const std::byte* data = staging_.slot(use.kind, use.index);
    list.push_back(compute == Tier::device ? parts_.store->uploaded(panel, data)
                                           : parts_.store->staged(panel, data));
  }
}

Ticket Executor::compute(const Step& step) {
  const Visit& visit = parts_.memory->weights.visits.at(step.visit);
  if (panels_.at(step.visit).empty()) bind_panels(step);
  if (std::byte* pages = slot(step, SlotKind::kv))
    binding_.place_pages(step.batch, layer(step), pages);
  const bool accelerator = parts_.context->accelerator();
  VisitBinding binding;
  binding.visit = &visit;
  binding.panels = &panels_.at(step.visit);
  binding.batch = &binding_.batch(step.batch);
  binding.hidden = hidden(step);
  binding.gathered = slot(step, accelerator ? SlotKind::device_gather : SlotKind::gather);
  binding.gathered_positions_offset = staging_.gather_positions_offset();
  const std::vector<Ticket> after = tickets_of(step);
  return runner_.run(binding, after, static_cast<int64_t>(step.id));
}

Ticket Executor::download_logits(const Step& step) {
  const BatchBinding& batch = binding_.batch(step.batch);
  Device& device = *parts_.context->device;
  const auto id = static_cast<int64_t>(step.id);
  std::vector<Ticket> after = tickets_of(step);
  Ticket ticket;
  if (batch.plan->logits_rows > 0) {
    const int64_t offset = batch.first_logits * parts_.spec->vocab;
    const size_t bytes = batch.plan->logits_rows * parts_.spec->vocab * sizeof(float);
    ticket = device.copy({staging_.host_logits() + offset, staging_.head().logits + offset, bytes,
                          CopyDirection::d2h},
                         after, id);
  }
  if (batch.plan->score_rows > 0) {
    const size_t bytes = batch.plan->score_rows * sizeof(ScoreState);
    ticket = device.copy({staging_.host_states() + batch.first_score,
                          staging_.head().states + batch.first_score, bytes, CopyDirection::d2h},
                         after, id);
  }
  return ticket;
}

const float* Executor::logits(int64_t row) const {
  return staging_.host_logits() + row * parts_.spec->vocab;
}

// Tells an accelerator that the slots a step released hold nothing any more. Later users follow the
// poisoning.
Ticket Executor::poison_released(const Step& step, Ticket ticket) {
  if (!parts_.context->accelerator() || step.kind != StepKind::compute) return ticket;
  for (const SlotUse& use : step.slots) {
    if (!use.release || use.kind != SlotKind::device_ring) continue;
    const CopyParams dead{staging_.slot(use.kind, use.index), nullptr,
                          parts_.memory->ring_slot_bytes, CopyDirection::within};
    ticket = parts_.context->device->copy(dead, {}, static_cast<int64_t>(step.id));
  }
  return ticket;
}

}  // namespace penstock
