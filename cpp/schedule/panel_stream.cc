#include "schedule/panel_stream.h"

#include <algorithm>

#include "base/checked.h"

namespace penstock {

PanelStream::PanelStream(const SweepFrame& frame, StepWriter& writer, const Carry& carry)
    : frame_(frame),
      writer_(writer),
      loaded_(carry.ahead),
      host_rings_(frame.options, carry, SlotKind::host_ring),
      device_rings_(frame.options, carry, SlotKind::device_ring) {
  check(static_cast<int64_t>(loaded_.size()) <= frame.panel_count, "prefetched panels are wanted");
  for (size_t i = 0; i < loaded_.size(); ++i) ring(position_of(i)).occupy(loaded_[i].slot);
}

int PanelStream::position_of(int64_t panel) const {
  int position = load_position_;
  while (panel >= frame_.positions[position].first_panel +
                      static_cast<int64_t>(frame_.positions[position].streamed.size())) {
    ++position;
  }
  return position;
}

int64_t PanelStream::target(const std::vector<int>& group, int64_t done, int64_t count) const {
  size_t own = 0;
  for (const int position : group) own += !frame_.positions[position].streamed.empty();
  const size_t end = frame_.positions[group.back()].streaming_rank + frame_.options.lookahead;
  if (end > frame_.streaming.size()) return frame_.panel_count;
  const Position& last = frame_.positions[frame_.streaming[end - 1]];
  const Position& first = frame_.positions[frame_.streaming[end - std::max<size_t>(1, own)]];
  const int64_t panels =
      last.first_panel + static_cast<int64_t>(last.streamed.size()) - first.first_panel;
  return first.first_panel + ceil_div(panels * done, count);
}

void PanelStream::load_ahead(const std::vector<int>& group, int64_t done, int64_t count) {
  if (!frame_.options.step_barrier) return load(target(group, done, count));
  if (done == 1) load(target(group, 1, 1));
}

void PanelStream::load(int64_t target) {
  while (static_cast<int64_t>(loaded_.size()) < target && load_next()) {
  }
}

void PanelStream::require(const std::vector<int>& group) {
  const Position& last = frame_.positions[group.back()];
  const int64_t end = last.first_panel + static_cast<int64_t>(last.streamed.size());
  load(end);
  check(static_cast<int64_t>(loaded_.size()) >= end,
        "the ring holds all panels that are used together");
}

bool PanelStream::load_next() {
  const auto number = static_cast<int64_t>(loaded_.size());
  load_position_ = position_of(number);
  const Position& position = frame_.positions[load_position_];
  const int panel = position.streamed[number - position.first_panel];
  if (frame_.options.accelerator) return upload(panel);
  SlotRing& slots = ring(load_position_);
  if (!slots.can_take()) return false;
  const SlotRing::Taken taken = slots.take();
  loaded_.push_back({read(panel, taken), taken.slot});
  return true;
}

uint64_t PanelStream::read(int panel, const SlotRing::Taken& taken) {
  Step step = writer_.make(StepKind::panel_read, load_position_, -1);
  step.panel = panel;
  step.bytes = frame_.visits[step.visit].panels[panel].bytes;
  step.slots.push_back({SlotKind::host_ring, taken.slot, true, false});
  StepWriter::follow(&step, taken.after);
  return writer_.emit(std::move(step));
}

bool PanelStream::upload(int panel) {
  const Panel& what = frame_.visit(load_position_).panels[panel];
  const bool from_disk = what.home == Tier::disk;
  SlotRing &device_ring = ring(load_position_), &host_ring = host_rings_.of(0);
  if (!device_ring.can_take() || (from_disk && !host_ring.can_take())) return false;
  SlotRing::Taken staged;
  uint64_t read_id = 0;
  if (from_disk) {
    staged = host_ring.take();
    read_id = read(panel, staged);
  }
  const SlotRing::Taken taken = device_ring.take();
  Step step = writer_.make(StepKind::panel_upload, load_position_, -1);
  step.panel = panel;
  step.bytes = what.upload_bytes;
  if (from_disk) {
    step.slots.push_back({SlotKind::host_ring, staged.slot, false, true});
    host_ring.release(staged.slot, step.id);
  }
  step.slots.push_back({SlotKind::device_ring, taken.slot, true, false});
  StepWriter::follow(&step, read_id);
  StepWriter::follow(&step, taken.after);
  loaded_.push_back({writer_.emit(std::move(step)), taken.slot});
  return true;
}

void PanelStream::use(int position, Step* step, bool first, bool last) {
  const Position& at = frame_.positions[position];
  const SlotKind kind = frame_.options.accelerator ? SlotKind::device_ring : SlotKind::host_ring;
  for (size_t i = 0; i < at.streamed.size(); ++i) {
    const Carry::Ahead& panel = loaded_[at.first_panel + i];
    step->slots.push_back({kind, panel.slot, false, last});
    if (first) StepWriter::follow(step, panel.ready);
    if (last) ring(position).release(panel.slot, step->id);
  }
}

void PanelStream::save(Carry* carry) {
  const Position& last = frame_.positions[frame_.running - 1];
  const int64_t used = last.first_panel + static_cast<int64_t>(last.streamed.size());
  carry->ahead.assign(loaded_.begin() + used, loaded_.end());
  host_rings_.save(carry);
  device_rings_.save(carry);
}

}  // namespace penstock
