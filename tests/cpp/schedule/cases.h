// Random sweeps for the schedule tests: visits with invented panels, micro-batches of every kind.
#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include "schedule/build.h"

namespace penstock {

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  int between(int low, int high) { return std::uniform_int_distribution(low, high)(engine_); }
  bool one_in(int n) { return between(1, n) == 1; }

 private:
  std::mt19937_64 engine_;
};

struct Case {
  Program program;
  std::vector<Visit> visits;
  BuildOptions options;
  std::vector<std::vector<BatchShape>> sweeps;

  Tier compute() const { return options.accelerator ? Tier::device : Tier::host; }
  int streamed(const Visit& visit) const {
    return static_cast<int>(
        std::count_if(visit.panels.begin(), visit.panels.end(),
                      [&](const Panel& p) { return is_streamed(p, compute()); }));
  }
  int most_streamed() const {
    int most = 0;
    for (const Visit& visit : visits) most = std::max(most, streamed(visit));
    return most;
  }
  // Attention that a micro-batch passes together with the visit before.
  bool joined(int visit) const {
    const auto kind = [&](int v) { return program.modules[visits[v].module].kind; };
    return program.form == AttentionForm::apart && visit > 0 && !moves_on(visit - 1) &&
           kind(visit) == ModuleKind::attention && kind(visit - 1) == ModuleKind::mlp;
  }
  // Rows go to another device after this visit.
  bool moves_on(int visit) const {
    return visit + 1 < static_cast<int>(visits.size()) &&
           visits[visit].device != visits[visit + 1].device;
  }
  bool head(const Visit& visit) const {
    return program.modules[visit.module].kind == ModuleKind::head;
  }
};

inline std::vector<Panel> random_panels(Dice& dice, bool accelerator, int most) {
  std::vector<Panel> panels(dice.between(0, most));
  for (Panel& panel : panels) {
    panel.weight = dice.between(0, 5);
    panel.row_end = 16;
    panel.bytes = 64 * dice.between(1, 99);
    panel.upload_bytes = panel.bytes - 64 * dice.between(0, 1);
    panel.home = dice.one_in(4) ? Tier::host : Tier::disk;
    if (accelerator && dice.one_in(4)) panel.home = Tier::device;
  }
  return panels;
}

// What a micro-batch beside an accelerator has in host memory and on disk.
inline void random_below(Dice& dice, BatchShape* batch) {
  batch->activations_on_host = dice.one_in(3);
  batch->activations_on_disk = !batch->activations_on_host && dice.one_in(3);
  if (batch->activations_on_disk) batch->activation_bytes = 4096 * dice.between(1, 9);
  batch->activation_move_bytes = 64 * dice.between(1, 40);
  const bool hosted = dice.one_in(2);  // some rows are attended by the host
  batch->kv_on_disk = dice.one_in(2);
  if (batch->kv_on_disk && dice.one_in(2)) batch->kv_read_bytes = 4096 * dice.between(1, 9);
  batch->kv_staged = dice.one_in(2) || (batch->kv_read_bytes > 0 && !hosted);
  if (batch->kv_staged && (batch->kv_read_bytes > 0 || dice.one_in(2))) {
    batch->kv_upload_bytes = 64 * dice.between(1, 40);
  }
  if (hosted || dice.one_in(2)) batch->exchange_down_bytes = 64 * dice.between(1, 40);
  if (hosted) batch->exchange_up_bytes = 64 * dice.between(1, 40);
  if (hosted) batch->host_attention_bytes = 64 * dice.between(1, 40);
  if (batch->kv_on_disk && batch->exchange_down_bytes > 0 && dice.one_in(2)) {
    batch->kv_write_bytes = 4096 * dice.between(1, 9);
  }
}

inline BatchShape random_batch(Dice& dice, bool accelerator) {
  BatchShape batch;
  batch.tokens = dice.between(1, 40);
  batch.head_rows = dice.one_in(4) ? 0 : dice.between(1, 40);
  batch.gather_disk_bytes = dice.one_in(3) ? 0 : 64 * dice.between(1, 40);
  if (accelerator) {
    batch.gather_upload_bytes = 64 * dice.between(1, 40);
    batch.logits_bytes = batch.head_rows * 64;
    batch.hidden_bytes = batch.tokens * 64;
    random_below(dice, &batch);
    return batch;
  }
  batch.kv_on_disk = !dice.one_in(3);
  if (batch.kv_on_disk && !dice.one_in(4)) batch.kv_read_bytes = 4096 * dice.between(1, 9);
  if (batch.kv_on_disk && dice.one_in(2)) batch.kv_write_bytes = 4096 * dice.between(1, 9);
  batch.activations_on_disk = dice.one_in(2);
  batch.activation_bytes = batch.activations_on_disk ? 4096 * dice.between(1, 9) : 0;
  return batch;
}

// The layers of a case on several devices, cut before any of them.
inline void random_split(Dice& dice, Case* made) {
  for (size_t v = 1; v < made->visits.size(); ++v) {
    const bool layer_begins =
        made->program.modules[made->visits[v].module].kind == ModuleKind::attention && v > 1;
    if (layer_begins && made->options.devices < 3 && dice.one_in(2)) ++made->options.devices;
    made->visits[v].device = made->options.devices - 1;
  }
}

inline Case random_case(uint64_t seed) {
  Dice dice(seed);
  Case made;
  made.options.accelerator = dice.one_in(2);
  const bool accelerator = made.options.accelerator;
  const bool apart = accelerator && dice.one_in(2);
  if (apart) made.program.form = AttentionForm::apart;
  const auto add = [&](ModuleKind kind, int chunks) {
    made.program.modules.push_back({.kind = kind, .layer = 0, .ops = {}, .matrices = {}});
    for (int c = 0; c < chunks; ++c) {
      Visit visit;
      visit.module = static_cast<int>(made.program.modules.size()) - 1;
      visit.panels = random_panels(dice, accelerator, kind == ModuleKind::embed ? 1 : 5);
      visit.first_chunk = c == 0;
      visit.last_chunk = c + 1 == chunks;
      made.visits.push_back(visit);
    }
  };
  add(ModuleKind::embed, 1);
  for (int layer = dice.between(1, 4); layer > 0; --layer) {
    add(ModuleKind::attention, 1);
    add(ModuleKind::mlp, 1);
  }
  add(ModuleKind::head, dice.between(1, 3));
  made.options.host_ring_slots = std::max(1, made.most_streamed()) + dice.between(0, 7);
  if (accelerator) {
    const int together = made.most_streamed() * (apart ? 2 : 1);
    made.options.device_ring_slots = std::max(1, together) + dice.between(0, 7);
    made.options.host_ring_slots = dice.between(1, 6);
  }
  made.options.gather_slots = dice.between(1, 3);
  made.options.kv_slots = dice.between(1, 4);
  made.options.activation_slots = dice.between(1, 4);
  made.options.lookahead = dice.between(1, 6);
  made.options.device_kv_slots = dice.between(1, 4);
  made.options.device_activation_slots = dice.between(1, 4);
  made.options.exchange_slots = apart ? 5 : dice.between(1, 3);
  if (accelerator) random_split(dice, &made);
  made.options.overlap = !dice.one_in(6);
  made.options.step_barrier = dice.one_in(4);
  made.sweeps.resize(dice.between(1, 3));
  for (auto& batches : made.sweeps) {
    batches.resize(dice.between(1, 5));
    for (BatchShape& batch : batches) {
      batch = random_batch(dice, accelerator);
      if (!accelerator) continue;
      if (!apart) batch.exchange_up_bytes = 0;
      if (!apart && batch.kv_read_bytes > 0) batch.kv_staged = true;
      if (batch.kv_staged && batch.kv_read_bytes > 0 && batch.kv_upload_bytes == 0) {
        batch.kv_upload_bytes = 64;
      }
    }
  }
  return made;
}

inline std::vector<Schedule> build_all(const Case& made) {
  std::vector<Schedule> schedules;
  Carry carry;
  for (size_t s = 0; s < made.sweeps.size(); ++s) {
    BuildOptions options = made.options;
    options.last_sweep = s + 1 == made.sweeps.size();
    Built built = build_sweep(made.visits, made.program, made.sweeps[s], options, carry);
    schedules.push_back(std::move(built.schedule));
    carry = std::move(built.carry);
  }
  return schedules;
}

inline std::vector<const Schedule*> pointers(const std::vector<Schedule>& schedules) {
  std::vector<const Schedule*> all;
  for (const Schedule& schedule : schedules) all.push_back(&schedule);
  return all;
}

}  // namespace penstock
