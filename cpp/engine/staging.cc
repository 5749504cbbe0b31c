#include "engine/staging.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "tensor/units.h"

namespace penstock {

namespace {

float* floats(std::byte* data) { return reinterpret_cast<float*>(data); }

}  // namespace

Staging::Staging(const Parts& parts) : context_(*parts.context), memory_(*parts.memory) {
  ring_ = host_item("ring");
  gather_ = host_item("gather");
  kv_ = host_item("kv staging");
  if (context_.accelerator()) exchange_ = host_item("exchange");
  const int64_t tokens = parts.policy->micro_batch_tokens;
  const int token_table = parts.weights->find(Role::token_embed);
  const int64_t element = dtype_bytes(format(memory_.weights.formats.at(token_table)).raw);
  positions_offset_ = round_up(tokens * parts.spec->embed_dim * element, kLineBytes);
  const bool learned = parts.spec->positions == PositionType::learned;
  gather_slot_bytes_ = positions_offset_ +
                       (learned ? round_up(tokens * parts.spec->hidden * element, kLineBytes) : 0);
  const auto gathered = static_cast<size_t>(memory_.gather_slots * gather_slot_bytes_);
  check(gather_.bytes() >= gathered, "gather slots are planned");
  for (int device = 0; device < parts.policy->split().devices(); ++device) {
    allocate_device(parts, device);
  }
  allocate_heads(parts);
}

Buffer Staging::item(Place place, const std::string& label) {
  for (const MemoryItem& item : memory_.items) {
    const bool found = Place{item.tier, item.device} == place && item.label == label;
    if (!found || item.bytes == 0) continue;
    if (place.tier == Tier::host) {
      return context_.device().allocate(item.bytes, context_.host, label);
    }
    return context_.compute_memory(place.ordinal).allocate(item.bytes, label);
  }
  return {};
}

Buffer Staging::host_item(const std::string& label) { return item({Tier::host, 0}, label); }

Buffer Staging::compute_item(const std::string& label, int device) {
  return item({context_.accelerator() ? Tier::device : Tier::host, device}, label);
}

void Staging::allocate_device(const Parts& parts, int device) {
  PerDevice& of = devices_.emplace_back();
  if (context_.accelerator()) {
    of.ring = compute_item("ring", device);
    of.gather = compute_item("gather", device);
    of.kv = compute_item("kv staging", device);
    of.exchange = compute_item("exchange", device);
  }
  allocate_registers(parts, &of, device);
  load_inv_freq(parts, &of, device);
}

void Staging::allocate_registers(const Parts& parts, PerDevice* of, int device) {
  const int64_t tokens = parts.policy->micro_batch_tokens;
  const RegisterSizes sizes = register_sizes(*parts.program, *parts.weights,
                                             memory_.weights.formats, parts.compute, tokens);
  of->work = compute_item("work", device);
  check(of->work.bytes() >= static_cast<size_t>(sizes.work_bytes + sizes.prepared_bytes),
        "work registers are planned");
  of->registers = std::make_unique<Registers>(*parts.program, tokens, of->work.data(),
                                              of->work.data() + sizes.work_bytes);
}

void Staging::allocate_heads(const Parts& parts) {
  const int last = parts.policy->split().last(), sweeps = parts.policy->sweeps();
  head_block_ = compute_item("head", last);
  logits_ = host_item("logits");
  if (context_.accelerator()) device_logits_ = compute_item("logits", last);
  for (int sweep = 0; sweep < sweeps; ++sweep) heads_.push_back(head_at(parts, sweep));
}

// The part of a sweep of the head block: picked, projected, score tile, score states, tokens; then
// its logits.
Staging::Head Staging::head_at(const Parts& parts, int sweep) const {
  const int64_t rows = memory_.head_rows, score_rows = parts.policy->micro_batch_tokens;
  const size_t bytes = head_block_.bytes() / parts.policy->sweeps() / kLineBytes * kLineBytes;
  const size_t logits = memory_.logit_rows * parts.spec->vocab * sizeof(float);
  const bool projects = parts.weights->find(Role::project_out) >= 0;
  std::byte* next = head_block_.data() + sweep * bytes;
  const std::byte* end = next + bytes;
  const auto take = [&](int64_t count) {
    std::byte* taken = next;
    next += round_up(count, kLineBytes);
    return taken;
  };
  Head head;
  HeadMemory& memory = head.memory;
  memory.picked = floats(take(rows * parts.spec->hidden * 4));
  if (projects) memory.projected = floats(take(rows * parts.spec->embed_dim * 4));
  memory.columns = memory_.head_columns;
  memory.tile = floats(take(score_rows * memory.columns * 4));
  memory.states = reinterpret_cast<ScoreState*>(take(rows * sizeof(ScoreState)));
  memory.tokens = reinterpret_cast<int32_t*>(take(memory_.logit_rows * sizeof(int32_t)));
  check(next <= end, "head buffers are planned");
  if (!context_.accelerator()) {
    head.host_logits = memory.logits = floats(logits_.data());
    head.host_states = memory.states;
    head.host_tokens = memory.tokens;
    return head;
  }
  memory.logits = floats(device_logits_.data() + sweep * logits);
  const size_t states = round_up(rows * sizeof(ScoreState), kLineBytes);
  const size_t host_bytes =
      logits + states + round_up(memory_.logit_rows * sizeof(int32_t), kLineBytes);
  std::byte* host = logits_.data() + sweep * host_bytes;
  head.host_logits = floats(host);
  head.host_states = reinterpret_cast<ScoreState*>(host + logits);
  head.host_tokens = reinterpret_cast<int32_t*>(host + logits + states);
  return head;
}

void Staging::load_inv_freq(const Parts& parts, PerDevice* of, int device) {
  const std::vector<float>& values = parts.spec->rotary.inv_freq;
  if (values.empty()) return;
  const size_t bytes = values.size() * sizeof(float);
  const DeviceMemory memory = context_.compute_memory(device);
  of->inv_freq = memory.allocate(bytes, "vectors");
  const auto direction = context_.accelerator() ? CopyDirection::h2d : CopyDirection::within;
  memory.device->wait(
      memory.device->copy({of->inv_freq.data(), values.data(), bytes, direction}, {}));
}

size_t Staging::slot_bytes(SlotKind kind) const {
  switch (kind) {
    case SlotKind::host_ring:
    case SlotKind::device_ring:
      return memory_.ring_slot_bytes;
    case SlotKind::gather:
    case SlotKind::device_gather:
      return gather_slot_bytes_;
    case SlotKind::kv:
      return memory_.kv_staging_bytes;
    case SlotKind::device_kv:
      return memory_.device_kv_bytes;
    case SlotKind::exchange:
    case SlotKind::device_exchange:
      return memory_.exchange.bytes();
    case SlotKind::none:
    case SlotKind::activation:
    case SlotKind::device_activation:
      break;
  }
  check(false, "a slot of this kind has an address");
  return 0;
}

const Buffer& Staging::block(SlotKind kind, int device) const {
  const PerDevice& on = devices_.at(is_on_device(kind) ? device : 0);
  const Buffer* const blocks[kSlotKinds] = {nullptr,    &ring_,       &on.ring, &gather_,
                                            &on.gather, &kv_,         nullptr,  &on.kv,
                                            &exchange_, &on.exchange, nullptr};
  return *blocks[static_cast<int>(kind)];
}

std::byte* Staging::slot(SlotKind kind, int device, int index) const {
  const size_t bytes = slot_bytes(kind);
  return block(kind, device).data() + index * bytes;
}

}  // namespace penstock
