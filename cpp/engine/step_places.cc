#include "engine/step_places.h"

#include "base/error.h"

namespace penstock {
namespace {

const BatchPlan& plan_of(const StepCall& call) {
  return *call.sweep.binding.batch(call.step.batch).plan;
}

}  // namespace

LaneTask StepCall::task() const {
  LaneTask task;
  task.after = after;
  task.bytes = step.bytes;
  task.label = step_label(step.kind);
  task.tag = tag();
  return task;
}

const Visit& StepPlaces::visit(const Step& step) const {
  return parts_.memory->weights.visits.at(step.visit);
}

const Panel& StepPlaces::panel(const Step& step) const { return visit(step).panels.at(step.panel); }

int StepPlaces::layer(const Step& step) const {
  return parts_.program->modules.at(visit(step).module).layer;
}

std::byte* StepPlaces::slot(const Step& step, SlotKind kind) const {
  for (const SlotUse& use : step.slots) {
    if (use.kind == kind) return staging_.slot(kind, device_of(step), use.index);
  }
  return nullptr;
}

float* StepPlaces::hidden(const StepCall& call) const {
  const BatchPlan& plan = plan_of(call);
  const int device = device_of(call.step);
  if (plan.hidden == HiddenHome::here) {
    return parts_.activations->rows(device, call.sweep.number, plan.first_token);
  }
  const bool accelerator = parts_.context->accelerator();
  const SlotKind kind = accelerator ? SlotKind::device_activation : SlotKind::activation;
  for (const SlotUse& use : call.step.slots) {
    if (use.kind == kind) return parts_.activations->slot(device, use.index);
  }
  return nullptr;
}

float* StepPlaces::host_hidden(const StepCall& call) const {
  const BatchPlan& plan = plan_of(call);
  if (plan.hidden == HiddenHome::host) {
    return parts_.activations->host_rows(call.sweep.number, plan.first_token);
  }
  for (const SlotUse& use : call.step.slots) {
    if (use.kind == SlotKind::activation) return parts_.activations->host_slot(use.index);
  }
  check(false, "rows on disk pass through a slot");
  return nullptr;
}

}  // namespace penstock
