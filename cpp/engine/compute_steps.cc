#include "engine/compute_steps.h"

#include <algorithm>

namespace penstock {
namespace {

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

ComputeSteps::ComputeSteps(const ExecutorParts& parts, const Staging& staging,
                           const StepPlaces& places)
    : parts_(parts), staging_(staging), places_(places) {
  for (int device = 0; device < parts_.policy->split().devices(); ++device) {
    runners_.emplace_back(runner_parts(parts_, staging_, device));
  }
  if (parts_.memory->exchange_slots == 0) return;
  Context& context = *parts_.context;
  host_attention_ = std::make_unique<HostAttention>(HostAttention::Parts{
      &context.lanes, parts_.spec, parts_.memory->kv, parts_.compute, parts_.memory->exchange,
      context.device().info().host_isa, parts_.policy->threads, context.pin_threads, &context.host,
      context.host_compute});
}

// A compute step lists the slots of the visit's streamed panels first, in the order of the panels.
void ComputeSteps::bind_panels(const StepCall& call) const {
  const Visit& visit = places_.visit(call.step);
  const auto& matrices = parts_.program->modules.at(visit.module).matrices;
  const Tier compute = parts_.context->device().info().memory;
  auto& bound = call.sweep.panels.at(call.step.visit);
  bound.resize(matrices.size());
  size_t next = 0;
  for (const Panel& panel : visit.panels) {
    const auto matrix = std::find(matrices.begin(), matrices.end(), panel.weight);
    auto& list = bound.at(matrix - matrices.begin());
    if (!is_streamed(panel, compute)) {
      list.push_back(parts_.store->resident(panel));
      continue;
    }
    const SlotUse& use = call.step.slots.at(next++);
    const std::byte* data = staging_.slot(use.kind, visit.device, use.index);
    list.push_back(compute == Tier::device ? parts_.store->uploaded(panel, data)
                                           : parts_.store->staged(panel, data));
  }
}

void ComputeSteps::place_pages(const StepCall& call, SlotKind kind) const {
  std::byte* pages = places_.slot(call.step, kind);
  if (pages == nullptr) return;
  SweepBinding& binding = call.sweep.binding;
  const int layer = places_.layer(call.step);
  if (kind == SlotKind::kv) {
    binding.place_host_pages(call.step.batch, layer, pages);
  } else {
    binding.place_device_pages(call.step.batch, layer, pages);
  }
}

Ticket ComputeSteps::compute(const StepCall& call) {
  const Step& step = call.step;
  const Visit& visit = places_.visit(step);
  if (call.sweep.panels.at(step.visit).empty()) bind_panels(call);
  place_pages(call, SlotKind::kv);
  place_pages(call, SlotKind::device_kv);
  const bool accelerator = parts_.context->accelerator();
  VisitBinding binding;
  binding.visit = &visit;
  binding.panels = &call.sweep.panels.at(step.visit);
  binding.head = &staging_.head(call.sweep.number).memory;
  binding.batch = &call.sweep.binding.batch(step.batch);
  binding.hidden = places_.hidden(call);
  binding.exchange = places_.slot(step, SlotKind::device_exchange);
  binding.gathered = places_.slot(step, accelerator ? SlotKind::device_gather : SlotKind::gather);
  binding.gathered_positions_offset = staging_.gather_positions_offset();
  return runners_.at(visit.device).run(binding, call.after, call.tag());
}

Ticket ComputeSteps::attend_on_host(const StepCall& call) {
  const Step& step = call.step;
  const int layer = places_.layer(step);
  place_pages(call, SlotKind::kv);
  const LayerSpans& spans = call.sweep.binding.batch(step.batch).layers.at(layer);
  return host_attention_->run(spans, layer, places_.slot(step, SlotKind::exchange), call.task());
}

}  // namespace penstock
