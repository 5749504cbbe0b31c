#include "engine/sweep_shaper.h"

#include <algorithm>

#include "base/checked.h"
#include "kernels/params.h"

namespace penstock {

SweepShaper::SweepShaper(const ShaperParts& parts)
    : parts_(parts),
      rules_{parts.policy->page_tokens, parts.accelerator, parts.policy->host_attention},
      token_table_(parts.weights->find(Role::token_embed)),
      position_table_(parts.weights->find(Role::position_embed)) {}

BuildOptions SweepShaper::build_options() const {
  const MemoryPlan& memory = *parts_.memory;
  BuildOptions options;
  options.accelerator = parts_.accelerator;
  options.devices = parts_.policy->split().devices();
  options.host_ring_slots = memory.ring_slots;
  options.device_ring_slots = memory.device_ring_slots;
  options.gather_slots = memory.gather_slots;
  options.kv_slots = memory.kv_staging_slots;
  options.device_kv_slots = memory.device_kv_slots;
  options.exchange_slots = memory.exchange_slots;
  options.activation_slots =
      parts_.accelerator ? memory.activation_host_slots : memory.activation_slots;
  options.device_activation_slots = parts_.accelerator ? memory.activation_slots : 0;
  options.lookahead = parts_.policy->lookahead;
  options.overlap = parts_.policy->overlap;
  options.step_barrier = parts_.policy->step_barrier;
  return options;
}

int64_t SweepShaper::row_bytes(int weight) const {
  const DType raw = format(parts_.memory->weights.formats.at(weight)).raw;
  return parts_.weights->at(weight).cols * static_cast<int64_t>(dtype_bytes(raw));
}

// Of one row of a table: nothing when all of them are in host memory.
uint64_t SweepShaper::table_disk_bytes(int table) const {
  const WeightPlan& plan = parts_.memory->weights;
  const int owner = plan.alias.at(table) >= 0 ? plan.alias.at(table) : table;
  const std::vector<Segment>& segments = plan.placements.at(owner).segments;
  const bool resident = segments.size() == 1 && segments.front().place.tier == Tier::host;
  return resident ? 0 : static_cast<uint64_t>(row_bytes(table));
}

std::vector<BatchShape> SweepShaper::shapes(const SweepPlan& sweep) const {
  std::vector<BatchShape> shapes;
  for (const BatchPlan& plan : sweep.batches) shapes.push_back(shape(plan));
  return shapes;
}

BatchShape SweepShaper::shape(const BatchPlan& plan) const {
  BatchShape shape;
  shape.tokens = plan.tokens;
  shape.head_rows = plan.head_rows();
  shape.gather_disk_bytes = plan.tokens * table_disk_bytes(token_table_);
  if (position_table_ >= 0) {
    shape.gather_disk_bytes += plan.tokens * table_disk_bytes(position_table_);
  }
  for (const SpanPlan& span : plan.spans) add_pages(span, &shape);
  add_hidden(plan, &shape);
  if (!parts_.accelerator) return shape;
  shape.gather_upload_bytes = plan.tokens * row_bytes(token_table_);
  if (position_table_ >= 0) shape.gather_upload_bytes += plan.tokens * row_bytes(position_table_);
  const int64_t logits_row = vocab() * static_cast<int64_t>(sizeof(float));
  shape.logits_bytes = plan.chosen_rows * sizeof(int32_t) +
                       (plan.logits_rows - plan.chosen_rows) * logits_row +
                       plan.score_rows * sizeof(ScoreState);
  return shape;
}

void SweepShaper::add_hidden(const BatchPlan& plan, BatchShape* shape) const {
  const int64_t hidden = parts_.spec->hidden;
  shape->activations_on_disk = plan.hidden == HiddenHome::disk;
  shape->activations_on_host = plan.hidden == HiddenHome::host;
  if (shape->activations_on_disk) {
    shape->activation_bytes = round_up(parts_.policy->micro_batch_tokens * hidden * 4, kPageBytes);
  }
  const uint64_t bytes = plan.tokens * hidden * 4;
  (plan.hidden == HiddenHome::here ? shape->hidden_bytes : shape->activation_move_bytes) = bytes;
}

void SweepShaper::add_pages(const SpanPlan& span, BatchShape* shape) const {
  const SpanPages pages = span_pages(span, rules_);
  count_keys(span, pages, shape);
  if (pages.below == 0) return;
  const KvLayout& kv = parts_.memory->kv;
  const auto unit = static_cast<uint64_t>(round_up(kv.page_bytes(), kPageBytes));
  if (pages.on_disk) {
    shape->kv_on_disk = true;
    shape->kv_read_bytes += pages.full * unit;
    shape->kv_write_bytes += pages.completed * unit;
  }
  if (!parts_.accelerator) return;
  const ExchangeLayout& exchange = parts_.memory->exchange;
  const uint64_t q_row = exchange.q_width * sizeof(float);
  const uint64_t kv_rows = 2 * exchange.kv_width * sizeof(float);
  shape->exchange_down_bytes += pages.down_rows * kv_rows;
  if (pages.staged) {
    shape->kv_staged = true;
    shape->kv_upload_bytes += pages.stored * kv.page_bytes();
  }
  if (!pages.hosted) return;
  shape->exchange_down_bytes += q_row;
  shape->exchange_up_bytes += q_row;
  if (!pages.whole) shape->exchange_up_bytes += exchange.heads * kAttentionStateBytes;
  const int64_t keys = std::min<int64_t>(span.position + 1, pages.cut);
  shape->host_attention_bytes += keys * 2 * kv.kv_heads * (kv.code_bytes() + kv.param_bytes());
}

void SweepShaper::count_keys(const SpanPlan& span, const SpanPages& pages,
                             BatchShape* shape) const {
  const int64_t count = span.count(), last = span.position + count;
  if (count > 1) {
    shape->prompt_keys += count * span.position + count * (count + 1) / 2;
  } else if (!pages.whole) {
    shape->decode_keys += last - (pages.hosted ? pages.cut : 0);
  }
}

bool SweepShaper::fits_slots(const BatchPlan& plan) const {
  const KvLayout& kv = parts_.memory->kv;
  uint64_t host = 0, device = 0;
  for (const SpanPlan& span : plan.spans) {
    const SpanPages pages = span_pages(span, rules_);
    if (pages.on_disk) host += pages.below * round_up(kv.page_bytes(), kPageBytes);
    if (pages.staged) device += pages.below * round_up(kv.page_bytes(), kLineBytes);
  }
  return host <= parts_.memory->kv_staging_bytes && device <= parts_.memory->device_kv_bytes;
}

}  // namespace penstock
