#include "schedule/batch_flow.h"

#include <utility>

#include "base/error.h"

namespace penstock {

BatchFlow::BatchFlow(const SweepFrame& frame, StepWriter& writer, const Carry& carry)
    : frame_(frame),
      writer_(writer),
      old_(carry),
      exchange_(frame.batches.size()),
      last_hidden_(frame.batches.size(), -1),
      written_group_(frame.batches.size(), -1),
      written_(frame.batches.size(), 0),
      sent_(frame.batches.size(), 0),
      kv_written_(carry.kv_written),
      host_attended_(carry.host_attended) {
  kv_written_.resize(frame.visits.size(), 0);
  host_attended_.resize(frame.visits.size(), 0);
  for (int kind = 0; kind < kSlotKinds; ++kind) {
    rings_[kind] = SlotRings(frame.options, carry, static_cast<SlotKind>(kind));
  }
  list_uses();
}

void BatchFlow::list_uses() {
  for (size_t g = 0; g < frame_.groups.size(); ++g) list_group(static_cast<int>(g));
}

void BatchFlow::list_group(int group) {
  const std::vector<int>& positions = frame_.groups[group];
  for (const int batch : frame_.positions[positions.front()].batches) {
    for (const int p : positions) {
      const ModuleKind kind = frame_.kind(p);
      if (kind == ModuleKind::embed) gather_.uses.push_back({group, p, batch});
      const bool pages = needs_kv_slot(batch) || shape(batch).kv_staged;
      if (kind == ModuleKind::attention && pages) kv_.uses.push_back({group, p, batch});
    }
    if (!frame_.carries_hidden(positions.front())) continue;
    last_hidden_[batch] = group;
    if (shape(batch).activations_on_disk || shape(batch).activations_on_host) {
      activation_.uses.push_back({group, positions.front(), batch});
    }
  }
}

bool BatchFlow::needs_kv_slot(int batch) const {
  const BatchShape& s = shape(batch);
  if (!accelerator()) return s.kv_on_disk;
  return s.kv_on_disk && (s.kv_read_bytes > 0 || s.exchange_down_bytes > 0);
}

SlotRing::Taken BatchFlow::take(Step* step, SlotKind kind) {
  const SlotRing::Taken taken = ring(kind, device_of(*step)).take();
  step->slots.push_back({kind, taken.slot, true, false});
  StepWriter::follow(step, taken.after);
  return taken;
}

void BatchFlow::read(Step* step, SlotKind kind, int slot, bool release) {
  step->slots.push_back({kind, slot, false, release});
  if (release) ring(kind, device_of(*step)).release(slot, step->id);
}

// The sweep before wrote this layer's pages until then.
uint64_t BatchFlow::old(const std::vector<uint64_t>& by_visit, int visit) const {
  return visit < static_cast<int>(by_visit.size()) ? by_visit[visit] : 0;
}

// ---- before the turn ----

bool BatchFlow::hidden_ready(const Use& use) const {
  return use.group == 0 || written_group_[use.batch] == use.group - 1;
}

bool BatchFlow::can_prepare(const Queue& queue) {
  if (!queue.left()) return false;
  const Use& use = queue.uses[queue.prepared];
  const BatchShape& s = shape(use.batch);
  const auto can_take = [&](SlotKind kind) { return ring(kind, device_of(use)).can_take(); };
  if (&queue == &gather_) {
    return can_take(SlotKind::gather) && (!accelerator() || can_take(SlotKind::device_gather));
  }
  if (&queue == &kv_) {
    return (!needs_kv_slot(use.batch) || can_take(SlotKind::kv)) &&
           (!s.kv_staged || can_take(SlotKind::device_kv));
  }
  const bool host_slot = !accelerator() || s.activations_on_disk;
  return hidden_ready(use) && (!host_slot || can_take(SlotKind::activation)) &&
         (!accelerator() || can_take(SlotKind::device_activation));
}

void BatchFlow::prepare(Queue& queue) {
  Use& use = queue.next();
  ++queue.prepared;
  if (&queue == &gather_) return prepare_gather(use);
  if (&queue == &kv_) return prepare_kv(use);
  prepare_activation(use);
}

void BatchFlow::prepare_ahead() {
  for (Queue* queue : {&gather_, &kv_, &activation_}) {
    while (can_prepare(*queue)) prepare(*queue);
  }
}

void BatchFlow::require(int group, int batch) {
  upload_exchange(batch);
  for (Queue* queue : {&gather_, &kv_, &activation_}) {
    if (!queue->wanted(group, batch) || queue->prepared > queue->consumed) continue;
    check(can_prepare(*queue), "a micro-batch has a slot");
    prepare(*queue);
  }
}

void BatchFlow::lead(int group, int next) {
  const bool follows = frame_.kind(frame_.groups[group].front()) == ModuleKind::mlp;
  if (follows && next >= 0) upload_exchange(next);
}

void BatchFlow::prepare_gather(Use& use) {
  Step step = writer_.make(StepKind::embed_gather, use.position, use.batch);
  step.bytes = shape(use.batch).gather_disk_bytes;
  use.slot = take(&step, SlotKind::gather).slot;
  use.ready = writer_.emit(std::move(step));
  if (!accelerator()) return;
  Step up = writer_.make(StepKind::embed_upload, use.position, use.batch);
  up.bytes = shape(use.batch).gather_upload_bytes;
  read(&up, SlotKind::gather, use.slot, true);
  StepWriter::follow(&up, use.ready);
  use.device_slot = take(&up, SlotKind::device_gather).slot;
  use.device_ready = writer_.emit(std::move(up));
}

void BatchFlow::prepare_kv(Use& use) {
  const BatchShape& s = shape(use.batch);
  Step step = writer_.make(StepKind::kv_read, use.position, use.batch);
  if (needs_kv_slot(use.batch) && s.kv_read_bytes > 0) {
    step.bytes = s.kv_read_bytes;
    use.slot = take(&step, SlotKind::kv).slot;
    StepWriter::follow(&step, old(old_.kv_written, step.visit));
    use.ready = writer_.emit(std::move(step));
  } else if (needs_kv_slot(use.batch)) {
    const SlotRing::Taken taken = ring(SlotKind::kv, device_of(use)).take();
    use.slot = taken.slot;
    use.ready = taken.after;
  }
  if (s.kv_staged) upload_kv(use);
}

void BatchFlow::upload_kv(Use& use) {
  const BatchShape& s = shape(use.batch);
  if (s.kv_upload_bytes == 0) {
    const SlotRing::Taken taken = ring(SlotKind::device_kv, device_of(use)).take();
    use.device_slot = taken.slot;
    use.device_ready = taken.after;
    return;
  }
  Step step = writer_.make(StepKind::kv_upload, use.position, use.batch);
  step.bytes = s.kv_upload_bytes;
  if (s.kv_read_bytes > 0) read(&step, SlotKind::kv, use.slot, s.exchange_down_bytes == 0);
  use.device_slot = take(&step, SlotKind::device_kv).slot;
  if (s.kv_read_bytes > 0) StepWriter::follow(&step, use.ready);
  StepWriter::follow(&step, old(old_.host_attended, step.visit));
  StepWriter::follow(&step, old(old_.kv_written, step.visit));
  use.device_ready = writer_.emit(std::move(step));
}

void BatchFlow::prepare_activation(Use& use) {
  check(hidden_ready(use), "a micro-batch's rows were put away by the visit before");
  const bool first = use.group == 0;
  const bool on_disk = shape(use.batch).activations_on_disk;
  uint64_t ready = 0;
  if (on_disk && !first) {
    Step step = writer_.make(StepKind::activation_read, use.position, use.batch);
    step.bytes = shape(use.batch).activation_bytes;
    use.slot = take(&step, SlotKind::activation).slot;
    StepWriter::follow(&step, written_[use.batch]);
    ready = writer_.emit(std::move(step));
  } else if (on_disk) {
    const SlotRing::Taken taken = ring(SlotKind::activation, device_of(use)).take();
    use.slot = taken.slot;
    ready = taken.after;
  }
  use.ready = ready;
  if (accelerator()) upload_activation(use, ready);
}

void BatchFlow::upload_activation(Use& use, uint64_t read_id) {
  if (use.group == 0) {
    const SlotRing::Taken taken = ring(SlotKind::device_activation, device_of(use)).take();
    use.device_slot = taken.slot;
    use.device_ready = taken.after;
    return;
  }
  Step step = writer_.make(StepKind::activation_upload, use.position, use.batch);
  step.bytes = shape(use.batch).activation_move_bytes;
  const bool last = last_hidden_[use.batch] == use.group;
  if (use.slot >= 0) read(&step, SlotKind::activation, use.slot, last);
  use.device_slot = take(&step, SlotKind::device_activation).slot;
  StepWriter::follow(&step, read_id);
  StepWriter::follow(&step, written_[use.batch]);
  use.device_ready = writer_.emit(std::move(step));
}

// ---- the turn ----

void BatchFlow::use(int group, int position, Step* step) {
  const ModuleKind kind = frame_.kind(position);
  StepWriter::follow(step, std::exchange(sent_[step->batch], 0));
  if (kind == ModuleKind::embed) use_gather(step);
  if (kind == ModuleKind::attention && kv_.wanted(group, step->batch)) use_kv(step);
  if (activation_.wanted(group, step->batch)) use_activation(group, position, step);
  if (kind == ModuleKind::attention) open_exchange(position, step);
  if (kind == ModuleKind::mlp && frame_.apart()) close_exchange(step);
}

void BatchFlow::use_gather(Step* step) {
  const Use& use = gather_.uses[gather_.consumed++];
  const SlotKind kind = accelerator() ? SlotKind::device_gather : SlotKind::gather;
  read(step, kind, accelerator() ? use.device_slot : use.slot, true);
  StepWriter::follow(step, accelerator() ? use.device_ready : use.ready);
}

void BatchFlow::use_kv(Step* step) {
  const Use& use = kv_.uses[kv_.consumed];
  const BatchShape& s = shape(use.batch);
  if (accelerator()) {
    if (!s.kv_staged) return;
    step->slots.push_back({SlotKind::device_kv, use.device_slot, s.kv_upload_bytes == 0, true});
    ring(SlotKind::device_kv, device_of(use)).release(use.device_slot, step->id);
    return StepWriter::follow(step, use.device_ready);
  }
  const bool written_back = s.kv_write_bytes > 0;
  step->slots.push_back({SlotKind::kv, use.slot, s.kv_read_bytes == 0, !written_back});
  StepWriter::follow(step, use.ready);
  if (s.kv_read_bytes == 0) StepWriter::follow(step, old(old_.kv_written, step->visit));
  if (!written_back) ring(SlotKind::kv, device_of(use)).release(use.slot, step->id);
}

void BatchFlow::use_activation(int group, int position, Step* step) {
  const Use& use = activation_.uses[activation_.consumed];
  const bool first = position == frame_.groups[group].front();
  const bool last = last_hidden_[use.batch] == group && position == frame_.groups[group].back();
  const SlotKind kind = accelerator() ? SlotKind::device_activation : SlotKind::activation;
  const int slot = accelerator() ? use.device_slot : use.slot;
  step->slots.push_back({kind, slot, first && group == 0, last});
  StepWriter::follow(step, accelerator() ? use.device_ready : use.ready);
  if (last) ring(kind, device_of(use)).release(slot, step->id);
}

void BatchFlow::open_exchange(int position, Step* step) {
  if (!frame_.apart() && shape(step->batch).exchange_down_bytes == 0) return;
  Exchange& open = exchange_[step->batch];
  check(open.device_slot < 0 && ring(SlotKind::device_exchange, device_of(*step)).can_take(),
        "a micro-batch has a slot");
  open = {};
  open.position = position;
  open.device_slot = take(step, SlotKind::device_exchange).slot;
}

void BatchFlow::close_exchange(Step* step) {
  Exchange& open = exchange_[step->batch];
  read(step, SlotKind::device_exchange, open.device_slot, true);
  StepWriter::follow(step, open.uploaded != 0 ? open.uploaded : open.read);
  open = {};
}

// ---- after the turn ----

void BatchFlow::follow_up(int group, int position, const Step& computed) {
  const int batch = computed.batch;
  if (frame_.kind(position) == ModuleKind::attention) {
    const Use* pages = kv_.wanted(group, batch) ? &kv_.uses[kv_.consumed++] : nullptr;
    if (accelerator()) {
      exchange(pages, position, computed);
    } else if (pages != nullptr && shape(batch).kv_write_bytes > 0) {
      write_kv(*pages, computed.id);
    }
  }
  if (position != frame_.groups[group].back()) return;
  if (is_sent_on(group, batch)) return send_hidden(position, computed);
  if (!activation_.wanted(group, batch)) return;
  const Use& rows = activation_.uses[activation_.consumed++];
  if (last_hidden_[batch] != group) put_activation_away(rows, computed.id);
}

void BatchFlow::write_kv(const Use& use, uint64_t after) {
  Step step = writer_.make(StepKind::kv_write, use.position, use.batch);
  step.bytes = shape(use.batch).kv_write_bytes;
  read(&step, SlotKind::kv, use.slot, true);
  StepWriter::follow(&step, after);
  kv_written_[step.visit] = step.id;
  writer_.emit(std::move(step));
}

// Rows of q, k and v go down; the host stores and attends.
void BatchFlow::exchange(const Use* kv, int position, const Step& computed) {
  const int batch = computed.batch;
  const BatchShape& s = shape(batch);
  if (s.exchange_down_bytes == 0) return;
  Exchange& open = exchange_[batch];
  Step down = writer_.make(StepKind::exchange_download, position, batch);
  down.bytes = s.exchange_down_bytes;
  read(&down, SlotKind::device_exchange, open.device_slot, !frame_.apart());
  open.host_slot = take(&down, SlotKind::exchange).slot;
  StepWriter::follow(&down, computed.id);
  const uint64_t arrived = writer_.emit(std::move(down));

  Step host = writer_.make(StepKind::host_attention, position, batch);
  host.bytes = s.host_attention_bytes;
  read(&host, SlotKind::exchange, open.host_slot, s.exchange_up_bytes == 0);
  StepWriter::follow(&host, arrived);
  const bool pages = kv != nullptr && kv->slot >= 0;
  if (pages) {
    const bool written_back = s.kv_write_bytes > 0;
    host.slots.push_back({SlotKind::kv, kv->slot, s.kv_read_bytes == 0, !written_back});
    StepWriter::follow(&host, kv->ready);
    if (!written_back) ring(SlotKind::kv, device_of(host)).release(kv->slot, host.id);
  }
  StepWriter::follow(&host, old(old_.kv_written, host.visit));
  host_attended_[host.visit] = host.id;
  const uint64_t attended = writer_.emit(std::move(host));
  if (s.exchange_up_bytes > 0) open.attended = attended;
  open.read = arrived;
  if (!frame_.apart()) open = {};
  if (pages && s.kv_write_bytes > 0) write_kv(*kv, attended);
}

void BatchFlow::upload_exchange(int batch) {
  Exchange& open = exchange_[batch];
  if (open.attended == 0) return;
  Step step = writer_.make(StepKind::exchange_upload, open.position, batch);
  step.bytes = shape(batch).exchange_up_bytes;
  read(&step, SlotKind::exchange, open.host_slot, true);
  read(&step, SlotKind::device_exchange, open.device_slot, false);
  StepWriter::follow(&step, open.attended);
  open.attended = 0;
  open.uploaded = writer_.emit(std::move(step));
}

void BatchFlow::put_activation_away(const Use& use, uint64_t computed) {
  uint64_t away = computed;
  if (accelerator()) {
    Step step = writer_.make(StepKind::activation_download, use.position, use.batch);
    step.bytes = shape(use.batch).activation_move_bytes;
    read(&step, SlotKind::device_activation, use.device_slot, true);
    if (use.slot >= 0)
      step.slots.push_back({SlotKind::activation, use.slot, use.group == 0, false});
    StepWriter::follow(&step, computed);
    if (use.group == 0) StepWriter::follow(&step, use.ready);
    away = writer_.emit(std::move(step));
  }
  if (shape(use.batch).activations_on_disk) {
    Step step = writer_.make(StepKind::activation_write, use.position, use.batch);
    step.bytes = shape(use.batch).activation_bytes;
    read(&step, SlotKind::activation, use.slot, true);
    StepWriter::follow(&step, away);
    away = writer_.emit(std::move(step));
  }
  written_group_[use.batch] = use.group;
  written_[use.batch] = away;
}

// Rows that are kept where the model computes, at the end of a device's layers.
bool BatchFlow::is_sent_on(int group, int batch) const {
  const BatchShape& s = shape(batch);
  if (s.activations_on_disk || s.activations_on_host || last_hidden_[batch] <= group) return false;
  const auto device = [&](int g) { return frame_.device(frame_.groups[g].front()); };
  return device(group) != device(group + 1);
}

void BatchFlow::send_hidden(int position, const Step& computed) {
  Step step = writer_.make(StepKind::hidden_send, position, computed.batch);
  step.bytes = shape(computed.batch).hidden_bytes;
  StepWriter::follow(&step, computed.id);
  sent_[computed.batch] = writer_.emit(std::move(step));
}

void BatchFlow::save(Carry* carry) {
  for (int kind = 0; kind < kSlotKinds; ++kind) {
    const auto slots = static_cast<SlotKind>(kind);
    if (slots == SlotKind::host_ring || slots == SlotKind::device_ring) continue;
    rings_[kind].save(carry);
  }
  carry->kv_written = std::move(kv_written_);
  carry->host_attended = std::move(host_attended_);
}

}  // namespace penstock
