#include "engine/copy_steps.h"

#include "base/error.h"
#include "tensor/units.h"

namespace penstock {
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

// Copies of one step, in order; the first waits for what the step follows.
Ticket CopySteps::copy_all(const StepCall& call, const std::vector<CopyParams>& copies) const {
  std::vector<Ticket> after = call.after;
  Ticket ticket;
  for (const CopyParams& copy : copies) {
    ticket = places_.device(call.step).copy(copy, after, call.tag());
    after.clear();
  }
  check(ticket.number != 0, "a step of the copy lanes moves something");
  return ticket;
}

Ticket CopySteps::upload_panel(const StepCall& call) const {
  const Step& step = call.step;
  return copy_all(
      call, {parts_.store->upload(places_.panel(step), places_.slot(step, SlotKind::host_ring),
                                  places_.slot(step, SlotKind::device_ring))});
}

Ticket CopySteps::upload_gathered(const StepCall& call) const {
  const std::byte* source = places_.slot(call.step, SlotKind::gather);
  std::byte* target = places_.slot(call.step, SlotKind::device_gather);
  const int64_t tokens = call.sweep.binding.batch(call.step.batch).plan->tokens;
  const auto bytes = [&](int table) {
    return static_cast<size_t>(tokens * parts_.store->row_bytes(table));
  };
  const size_t token_bytes = bytes(parts_.weights->find(Role::token_embed));
  std::vector<CopyParams> copies = {{target, source, token_bytes, CopyDirection::h2d}};
  const int positions = parts_.weights->find(Role::position_embed);
  if (positions >= 0) {
    const int64_t offset = staging_.gather_positions_offset();
    copies.push_back({target + offset, source + offset, bytes(positions), CopyDirection::h2d});
  }
  return copy_all(call, copies);
}

Ticket CopySteps::upload_kv(const StepCall& call) const {
  const Step& step = call.step;
  return copy_all(call, call.sweep.binding.page_uploads(step.batch, places_.layer(step),
                                                        places_.slot(step, SlotKind::kv),
                                                        places_.slot(step, SlotKind::device_kv)));
}

Ticket CopySteps::download_exchange(const StepCall& call) const {
  const ExchangeLayout& layout = parts_.memory->exchange;
  const SweepBinding& binding = call.sweep.binding;
  const int batch = call.step.batch;
  const CopyParams slots{places_.slot(call.step, SlotKind::exchange),
                         places_.slot(call.step, SlotKind::device_exchange), 0, CopyDirection::d2h};
  const std::vector<RowRange> stored = binding.stored_rows(batch);
  std::vector<CopyParams> copies;
  add_copies(binding.hosted_rows(batch, false), {layout.q_offset(), layout.q_width * 4}, slots,
             &copies);
  add_copies(stored, {layout.k_offset(), layout.kv_width * 4}, slots, &copies);
  add_copies(stored, {layout.v_offset(), layout.kv_width * 4}, slots, &copies);
  return copy_all(call, copies);
}

Ticket CopySteps::upload_exchange(const StepCall& call) const {
  const ExchangeLayout& layout = parts_.memory->exchange;
  const SweepBinding& binding = call.sweep.binding;
  const int batch = call.step.batch;
  const CopyParams slots{places_.slot(call.step, SlotKind::device_exchange),
                         places_.slot(call.step, SlotKind::exchange), 0, CopyDirection::h2d};
  std::vector<CopyParams> copies;
  add_copies(binding.hosted_rows(batch, false), {layout.attended_offset(), layout.q_width * 4},
             slots, &copies);
  add_copies(binding.hosted_rows(batch, true),
             {layout.states_offset(), layout.heads * kAttentionStateBytes}, slots, &copies);
  return copy_all(call, copies);
}

Ticket CopySteps::upload_hidden(const StepCall& call) const {
  return copy_all(call, {{places_.hidden(call), places_.host_hidden(call), call.step.bytes,
                          CopyDirection::h2d}});
}

Ticket CopySteps::download_hidden(const StepCall& call) const {
  return copy_all(call, {{places_.host_hidden(call), places_.hidden(call), call.step.bytes,
                          CopyDirection::d2h}});
}

Ticket CopySteps::send_hidden(const StepCall& call) const {
  const int from = places_.device_of(call.step);
  const int64_t first = call.sweep.binding.batch(call.step.batch).plan->first_token;
  const auto rows = [&](int device) {
    return parts_.activations->rows(device, call.sweep.number, first);
  };
  return copy_all(call, {{rows(from + 1), rows(from), call.step.bytes, CopyDirection::peer,
                          &parts_.context->device(from + 1)}});
}

Ticket CopySteps::download_results(const StepCall& call) const {
  const BatchBinding& batch = call.sweep.binding.batch(call.step.batch);
  const Staging::Head& head = staging_.head(call.sweep.number);
  std::vector<CopyParams> copies;
  const auto bring = [&](auto* to, const auto* source, RowRange range) {
    const size_t bytes = static_cast<size_t>(range.end - range.begin) * sizeof(*to);
    copies.push_back({to + range.begin, source + range.begin, bytes, CopyDirection::d2h});
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
  return copy_all(call, copies);
}

Ticket CopySteps::poison_released(const Step& step, Ticket ticket) const {
  if (!parts_.context->accelerator() || step.kind != StepKind::compute) return ticket;
  for (const SlotUse& use : step.slots) {
    const bool staging = use.kind == SlotKind::device_ring || use.kind == SlotKind::device_kv ||
                         use.kind == SlotKind::device_exchange;
    if (!use.release || !staging) continue;
    const CopyParams dead{staging_.slot(use.kind, places_.device_of(step), use.index), nullptr,
                          staging_.slot_bytes(use.kind), CopyDirection::within};
    ticket = places_.device(step).copy(dead, {}, static_cast<int64_t>(step.id));
  }
  return ticket;
}

}  // namespace penstock
