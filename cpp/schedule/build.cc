#include "schedule/build.h"

#include "base/error.h"
#include "schedule/batch_flow.h"
#include "schedule/panel_stream.h"

namespace penstock {
namespace {

class SweepBuilder {
 public:
  SweepBuilder(const SweepFrame& frame, const Carry& carry)
      : frame_(frame),
        writer_(frame, carry),
        panels_(frame, writer_, carry),
        flow_(frame, writer_, carry) {}

  Built build() {
    for (size_t g = 0; g < frame_.groups.size(); ++g) {
      const std::vector<int>& group = frame_.groups[g];
      const std::vector<int>& batches = frame_.positions[group.front()].batches;
      const auto count = static_cast<int64_t>(batches.size());
      panels_.require(group);
      for (int64_t i = 0; i < count; ++i) {
        flow_.require(static_cast<int>(g), batches[i]);
        flow_.prepare_ahead();
        panels_.load_ahead(group, i + 1, count);
        flow_.lead(static_cast<int>(g), i + 1 < count ? batches[i + 1] : -1);
        for (const int position : group) {
          compute(static_cast<int>(g), position, batches[i], {i == 0, i + 1 == count});
        }
        writer_.end_turn();
      }
    }
    panels_.load_ahead({frame_.running - 1}, 1, 1);
    Carry next;
    next.next_id = writer_.next_id();
    panels_.save(&next);
    flow_.save(&next);
    next.barrier = writer_.take_barrier();
    return {writer_.take(), std::move(next)};
  }

 private:
  struct Turn {
    bool first, last;  // among the micro-batches of the position
  };

  void compute(int group, int position, int batch, Turn turn) {
    Step step = writer_.make(StepKind::compute, position, batch);
    panels_.use(position, &step, turn.first, turn.last);
    flow_.use(group, position, &step);
    const Step done = step;
    writer_.emit(std::move(step));
    flow_.follow_up(group, position, done);
    const bool ends =
        frame_.kind(position) == ModuleKind::head && frame_.visit(position).last_chunk;
    if (ends && frame_.batches[batch].logits_bytes > 0) download(position, batch, done.id);
  }

  void download(int position, int batch, uint64_t computed) {
    Step step = writer_.make(StepKind::logits_download, position, batch);
    step.bytes = frame_.batches[batch].logits_bytes;
    StepWriter::follow(&step, computed);
    writer_.emit(std::move(step));
  }

  const SweepFrame& frame_;
  StepWriter writer_;
  PanelStream panels_;
  BatchFlow flow_;
};

}  // namespace

int BuildOptions::slots(SlotKind kind) const {
  switch (kind) {
    case SlotKind::none:
      return 0;
    case SlotKind::host_ring:
      return host_ring_slots;
    case SlotKind::device_ring:
      return device_ring_slots;
    case SlotKind::gather:
      return gather_slots;
    case SlotKind::device_gather:
      return accelerator ? gather_slots : 0;
    case SlotKind::kv:
      return kv_slots;
    case SlotKind::activation:
      return activation_slots;
    case SlotKind::device_kv:
      return device_kv_slots;
    case SlotKind::exchange:
    case SlotKind::device_exchange:
      return exchange_slots;
    case SlotKind::device_activation:
      return device_activation_slots;
  }
  return 0;
}

Built build_sweep(const std::vector<Visit>& visits, const Program& program,
                  const std::vector<BatchShape>& batches, const BuildOptions& options,
                  const Carry& carry) {
  const SweepFrame frame(visits, program, batches, options);
  return SweepBuilder(frame, carry).build();
}

}  // namespace penstock
