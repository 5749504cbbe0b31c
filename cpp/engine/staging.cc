#include "engine/staging.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"

namespace penstock {

namespace {

float* floats(std::byte* data) { return reinterpret_cast<float*>(data); }

}  // namespace

Staging::Staging(const Parts& parts) : context_(*parts.context), memory_(*parts.memory) {
  host_ring_ = host_item("ring");
  gather_ = host_item("gather");
  kv_ = host_item("kv staging");
  if (context_.accelerator()) {
    device_ring_ = compute_item("ring");
    device_gather_ = compute_item("gather");
    device_kv_ = compute_item("kv staging");
    exchange_ = host_item("exchange");
    device_exchange_ = compute_item("exchange");
  }
  const int64_t tokens = parts.policy->micro_batch_tokens;
  const int token_table = parts.weights->find(Role::token_embed);
  const int64_t element = dtype_bytes(format(memory_.weights.formats.at(token_table)).raw);
  positions_offset_ = round_up(tokens * parts.spec->embed_dim * element, 64);
  const bool learned = parts.spec->positions == PositionType::learned;
  gather_slot_bytes_ =
      positions_offset_ + (learned ? round_up(tokens * parts.spec->hidden * element, 64) : 0);
  check(gather_.bytes() >= static_cast<size_t>(2 * gather_slot_bytes_), "gather slots are planned");
  allocate_registers(parts);
  allocate_head(parts);
  load_inv_freq(parts);
}

const MemoryItem* Staging::item(Tier tier, const std::string& label) const {
  for (const MemoryItem& item : memory_.items) {
    if (item.tier == tier && item.label == label && item.bytes > 0) return &item;
  }
  return nullptr;
}

Buffer Staging::host_item(const std::string& label) {
  const MemoryItem* found = item(Tier::host, label);
  return found ? allocate_host(found->bytes, context_.host, label) : Buffer{};
}

Buffer Staging::compute_item(const std::string& label) {
  const MemoryItem* found = item(context_.accelerator() ? Tier::device : Tier::host, label);
  if (!found) return {};
  return context_.device->allocate(found->bytes, context_.compute_memory(), label);
}

void Staging::allocate_registers(const Parts& parts) {
  const int64_t tokens = parts.policy->micro_batch_tokens;
  const RegisterSizes sizes =
      register_sizes(*parts.program, *parts.weights, memory_.weights.formats, parts.exact, tokens);
  work_ = compute_item("work");
  check(work_.bytes() >= static_cast<size_t>(sizes.work_bytes + sizes.prepared_bytes),
        "work registers are planned");
  registers_ = std::make_unique<Registers>(*parts.program, tokens, work_.data(),
                                           work_.data() + sizes.work_bytes);
}

// The head block: picked, projected, score tile, score states; then the logits.
void Staging::allocate_head(const Parts& parts) {
  head_block_ = compute_item("head");
  const int64_t rows = memory_.head_rows, score_rows = parts.policy->micro_batch_tokens;
  const bool projects = parts.weights->find(Role::project_out) >= 0;
  std::byte* next = head_block_.data();
  const auto take = [&](int64_t bytes) {
    std::byte* taken = next;
    next += round_up(bytes, 64);
    return taken;
  };
  head_.picked = floats(take(rows * parts.spec->hidden * 4));
  if (projects) head_.projected = floats(take(rows * parts.spec->embed_dim * 4));
  head_.columns = memory_.head_columns;
  head_.tile = floats(take(score_rows * head_.columns * 4));
  head_.states = reinterpret_cast<ScoreState*>(take(rows * sizeof(ScoreState)));
  check(next <= head_block_.data() + head_block_.bytes(), "head buffers are planned");
  logits_ = host_item("logits");
  host_logits_ = head_.logits = floats(logits_.data());
  host_states_ = head_.states;
  if (!context_.accelerator()) return;
  device_logits_ = compute_item("logits");
  head_.logits = floats(device_logits_.data());
  host_states_ =
      reinterpret_cast<ScoreState*>(logits_.data() + memory_.logit_rows * parts.spec->vocab * 4);
}

void Staging::load_inv_freq(const Parts& parts) {
  const std::vector<float>& values = parts.spec->rotary.inv_freq;
  if (values.empty()) return;
  const size_t bytes = values.size() * sizeof(float);
  inv_freq_ = context_.device->allocate(bytes, context_.compute_memory(), "vectors");
  Device& device = *context_.device;
  const auto direction = context_.accelerator() ? CopyDirection::h2d : CopyDirection::within;
  device.wait(device.copy({inv_freq_.data(), values.data(), bytes, direction}, {}));
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

std::byte* Staging::slot(SlotKind kind, int index) const {
  const Buffer* const blocks[kSlotKinds] = {
      nullptr, &host_ring_, &device_ring_, &gather_,          &device_gather_, &kv_,
      nullptr, &device_kv_, &exchange_,    &device_exchange_, nullptr};
  return blocks[static_cast<int>(kind)]->data() + index * slot_bytes(kind);
}

}  // namespace penstock
