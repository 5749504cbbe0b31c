#include "schedule/build.h"

#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "schedule/slot_ring.h"

namespace penstock {
namespace {

// A visit in the order in which it runs; those of the next sweep are there to be prefetched only.
struct Position {
  int visit = -1;
  bool ahead = false;
  std::vector<int> batches;   // micro-batches that compute here
  std::vector<int> streamed;  // panels that need a slot
  int64_t first_panel = 0;    // number of the first of them in the stream
  int streaming_rank = 0;     // positions with streamed panels up to this one
};

// One stay of something in a slot: who wants it, and once it is prepared, where it is and what the
// reader must follow.
struct Use {
  int position = -1, batch = -1;
  int slot = -1;
  uint64_t ready = 0;
};

// Uses of one ring in the order in which they are computed.
struct UseQueue {
  SlotRing ring;
  std::vector<Use> uses;
  size_t prepared = 0, consumed = 0;

  bool wanted(int position, int batch) const {
    return consumed < uses.size() && uses[consumed].position == position &&
           uses[consumed].batch == batch;
  }
  bool open() const { return prepared < uses.size() && ring.can_take(); }
};

class SweepBuilder {
 public:
  SweepBuilder(const std::vector<Visit>& visits, const Program& program,
               const std::vector<BatchShape>& batches, const BuildOptions& options,
               const Carry& carry)
      : visits_(visits), program_(program), batches_(batches), options_(options), old_(carry) {
    check(!batches.empty(), "a sweep serves at least one micro-batch");
    check(options.lookahead >= 1, "lookahead is at least one visit");
    out_.first_id = carry.next_id;
    open_rings();
    list_positions();
    list_uses();
    adopt_ahead();
    kv_written_ = carry.kv_written;
    kv_written_.resize(visits.size(), 0);
    written_position_.assign(batches.size(), -1);
    written_.assign(batches.size(), 0);
  }

  Built build() {
    for (int p = 0; p < running_; ++p) {
      const Position& position = positions_[p];
      const auto count = static_cast<int64_t>(position.batches.size());
      for (int64_t i = 0; i < count; ++i) {
        if (i == 0) require_panels(position);
        require_uses(p, position.batches[i]);
        prepare_ahead();
        load_panels(panel_target(p, i + 1, count));
        compute(p, position.batches[i], i == 0, i + 1 == count);
      }
    }
    load_panels(panel_target(running_ - 1, 1, 1));
    Carry next = carry();
    return {std::move(out_), std::move(next)};
  }

 private:
  ModuleKind kind(int position) const {
    return program_.modules[visits_[positions_[position].visit].module].kind;
  }
  const Visit& visit(const Position& position) const { return visits_[position.visit]; }
  Tier compute_tier() const { return options_.accelerator ? Tier::device : Tier::host; }

  // ---- what has to be done ----

  void open_rings() {
    const BuildOptions& o = options_;
    host_ring_ = SlotRing(o.host_ring_slots, old_.host_ring_next, old_.host_ring_release);
    device_ring_ = SlotRing(o.device_ring_slots, old_.device_ring_next, old_.device_ring_release);
    gather_.ring = SlotRing(o.gather_slots, old_.gather_next, old_.gather_release);
    kv_.ring = SlotRing(o.kv_slots, old_.kv_next, old_.kv_release);
    activation_.ring = SlotRing(o.activation_slots, old_.activation_next, old_.activation_release);
    if (!o.accelerator) return;
    device_gather_ = SlotRing(o.gather_slots, old_.device_gather_next, old_.device_gather_release);
  }

  void list_positions() {
    for (int ahead = 0; ahead < 2; ++ahead) {
      if (ahead == 1) running_ = static_cast<int>(positions_.size());
      if (ahead == 1 && options_.last_sweep) break;
      for (size_t v = 0; v < visits_.size(); ++v) add_position(static_cast<int>(v), ahead == 1);
    }
    check(running_ > 0 && kind(0) == ModuleKind::embed, "a sweep begins with the embedding");
  }

  void add_position(int index, bool ahead) {
    const Visit& visit = visits_[index];
    const bool head = program_.modules[visit.module].kind == ModuleKind::head;
    if (ahead && (head || static_cast<int>(positions_.size()) >= running_ + options_.lookahead))
      return;
    Position position;
    position.visit = index;
    position.ahead = ahead;
    position.first_panel = panel_count_;
    for (size_t b = 0; b < batches_.size(); ++b) {
      if (!head || batches_[b].head_rows > 0) position.batches.push_back(static_cast<int>(b));
    }
    if (position.batches.empty()) return;
    for (size_t i = 0; i < visit.panels.size(); ++i) {
      if (is_streamed(visit.panels[i], compute_tier()))
        position.streamed.push_back(static_cast<int>(i));
    }
    if (ahead && position.streamed.empty()) return;
    panel_count_ += static_cast<int64_t>(position.streamed.size());
    if (!position.streamed.empty()) streaming_.push_back(static_cast<int>(positions_.size()));
    position.streaming_rank = static_cast<int>(streaming_.size());
    positions_.push_back(std::move(position));
  }

  // Whether a batch's hidden rows pass through this position.
  bool carries_hidden(int position) const {
    return kind(position) != ModuleKind::head || visit(positions_[position]).first_chunk;
  }

  void list_uses() {
    last_hidden_.assign(batches_.size(), -1);
    for (int p = 0; p < running_; ++p) {
      for (int b : positions_[p].batches) {
        const BatchShape& batch = batches_[b];
        if (kind(p) == ModuleKind::embed) gather_.uses.push_back({p, b});
        if (kind(p) == ModuleKind::attention && batch.kv_on_disk) kv_.uses.push_back({p, b});
        if (!carries_hidden(p)) continue;
        last_hidden_[b] = p;
        if (batch.activations_on_disk) activation_.uses.push_back({p, b});
      }
    }
  }

  void adopt_ahead() {
    loaded_ = old_.ahead;
    const int64_t wanted = panel_count_;
    check(static_cast<int64_t>(loaded_.size()) <= wanted, "prefetched panels are wanted");
    SlotRing& ring = options_.accelerator ? device_ring_ : host_ring_;
    for (const Carry::Ahead& panel : loaded_) ring.occupy(panel.slot);
  }

  // ---- steps ----

  Step make_step(StepKind kind, LaneKind lane, int position, int batch) const {
    Step step;
    step.id = out_.first_id + out_.steps.size();
    step.kind = kind;
    step.lane = {lane, 0};
    step.visit = positions_[position].visit;
    step.ahead = positions_[position].ahead;
    step.batch = batch;
    return step;
  }

  static void follow(Step* step, uint64_t id) {
    if (id == 0 || std::find(step->after.begin(), step->after.end(), id) != step->after.end())
      return;
    step->after.push_back(id);
  }

  uint64_t emit(Step step) {
    out_.steps.push_back(std::move(step));
    return out_.steps.back().id;
  }

  // ---- panels ----

  // Number of panels that should be on their way when `done` of `count` micro-batches of a position
  // are about to be computed.
  int64_t panel_target(int position, int64_t done, int64_t count) const {
    const size_t rank = positions_[position].streaming_rank + options_.lookahead;
    if (rank > streaming_.size()) return panel_count_;
    const Position& ahead = positions_[streaming_[rank - 1]];
    const auto streamed = static_cast<int64_t>(ahead.streamed.size());
    return ahead.first_panel + ceil_div(streamed * done, count);
  }

  void load_panels(int64_t target) {
    while (static_cast<int64_t>(loaded_.size()) < target && load_next_panel()) {
    }
  }

  void require_panels(const Position& position) {
    const int64_t end = position.first_panel + static_cast<int64_t>(position.streamed.size());
    load_panels(end);
    check(static_cast<int64_t>(loaded_.size()) >= end, "the ring holds all panels of one visit");
  }

  bool load_next_panel() {
    const auto number = static_cast<int64_t>(loaded_.size());
    while (number >= positions_[load_position_].first_panel +
                         static_cast<int64_t>(positions_[load_position_].streamed.size())) {
      ++load_position_;
    }
    const Position& position = positions_[load_position_];
    const int panel = position.streamed[number - position.first_panel];
    if (options_.accelerator) return upload_panel(panel);
    if (!host_ring_.can_take()) return false;
    const SlotRing::Taken taken = host_ring_.take();
    loaded_.push_back({read_panel(panel, taken), taken.slot});
    return true;
  }

  uint64_t read_panel(int panel, const SlotRing::Taken& taken) {
    Step step = make_step(StepKind::panel_read, LaneKind::disk_read, load_position_, -1);
    step.panel = panel;
    step.bytes = visits_[step.visit].panels[panel].bytes;
    step.slots.push_back({SlotKind::host_ring, taken.slot, true, false});
    follow(&step, taken.after);
    return emit(std::move(step));
  }

  bool upload_panel(int panel) {
    const Panel& what = visit(positions_[load_position_]).panels[panel];
    const bool from_disk = what.home == Tier::disk;
    if (!device_ring_.can_take() || (from_disk && !host_ring_.can_take())) return false;
    SlotRing::Taken staged;
    uint64_t read = 0;
    if (from_disk) {
      staged = host_ring_.take();
      read = read_panel(panel, staged);
    }
    const SlotRing::Taken taken = device_ring_.take();
    Step step = make_step(StepKind::panel_upload, LaneKind::h2d, load_position_, -1);
    step.panel = panel;
    step.bytes = what.upload_bytes;
    if (from_disk) {
      step.slots.push_back({SlotKind::host_ring, staged.slot, false, true});
      host_ring_.release(staged.slot, step.id);
    }
    step.slots.push_back({SlotKind::device_ring, taken.slot, true, false});
    follow(&step, read);
    follow(&step, taken.after);
    loaded_.push_back({emit(std::move(step)), taken.slot});
    return true;
  }

  // ---- gathered embeddings, KV pages, activations ----

  void prepare_ahead() {
    while (gather_.open() && (!options_.accelerator || device_gather_.can_take())) prepare_gather();
    while (kv_.open()) prepare_kv();
    while (activation_.open() && hidden_written(activation_.uses[activation_.prepared])) {
      prepare_activation();
    }
  }

  void require_uses(int position, int batch) {
    for (UseQueue* queue : {&gather_, &kv_, &activation_}) {
      if (queue->wanted(position, batch) && queue->prepared == queue->consumed) {
        check(queue->ring.can_take(), "a micro-batch has a slot");
        if (queue == &gather_) prepare_gather();
        if (queue == &kv_) prepare_kv();
        if (queue == &activation_) prepare_activation();
      }
    }
  }

  void prepare_gather() {
    Use& use = gather_.uses[gather_.prepared++];
    const SlotRing::Taken taken = gather_.ring.take();
    Step step = make_step(StepKind::embed_gather, LaneKind::disk_read, use.position, use.batch);
    step.bytes = batches_[use.batch].gather_disk_bytes;
    step.slots.push_back({SlotKind::gather, taken.slot, true, false});
    follow(&step, taken.after);
    use.slot = taken.slot;
    use.ready = emit(std::move(step));
    if (options_.accelerator) upload_gather(&use);
  }

  void upload_gather(Use* use) {
    const SlotRing::Taken taken = device_gather_.take();
    Step step = make_step(StepKind::embed_upload, LaneKind::h2d, use->position, use->batch);
    step.bytes = batches_[use->batch].gather_upload_bytes;
    step.slots.push_back({SlotKind::gather, use->slot, false, true});
    step.slots.push_back({SlotKind::device_gather, taken.slot, true, false});
    follow(&step, use->ready);
    follow(&step, taken.after);
    gather_.ring.release(use->slot, step.id);
    use->slot = taken.slot;
    use->ready = emit(std::move(step));
  }

  void prepare_kv() {
    Use& use = kv_.uses[kv_.prepared++];
    const SlotRing::Taken taken = kv_.ring.take();
    use.slot = taken.slot;
    use.ready = taken.after;
    const uint64_t bytes = batches_[use.batch].kv_read_bytes;
    if (bytes == 0) return;
    Step step = make_step(StepKind::kv_read, LaneKind::disk_read, use.position, use.batch);
    step.bytes = bytes;
    step.slots.push_back({SlotKind::kv, taken.slot, true, false});
    follow(&step, taken.after);
    follow(&step, old_written(step.visit));
    use.ready = emit(std::move(step));
  }

  // The sweep before wrote this layer's pages until then.
  uint64_t old_written(int visit) const {
    return visit < static_cast<int>(old_.kv_written.size()) ? old_.kv_written[visit] : 0;
  }

  bool hidden_written(const Use& use) const {
    return use.position == 0 || written_position_[use.batch] == use.position - 1;
  }

  void prepare_activation() {
    Use& use = activation_.uses[activation_.prepared++];
    check(hidden_written(use), "a micro-batch's rows were written by the visit before");
    const SlotRing::Taken taken = activation_.ring.take();
    use.slot = taken.slot;
    use.ready = taken.after;
    if (use.position == 0) return;
    Step step = make_step(StepKind::activation_read, LaneKind::disk_read, use.position, use.batch);
    step.bytes = batches_[use.batch].activation_bytes;
    step.slots.push_back({SlotKind::activation, taken.slot, true, false});
    follow(&step, taken.after);
    follow(&step, written_[use.batch]);
    use.ready = emit(std::move(step));
  }

  // ---- compute ----

  void compute(int p, int batch, bool first, bool last) {
    Step step = make_step(StepKind::compute, LaneKind::compute, p, batch);
    use_panels(p, &step, first, last);
    if (gather_.wanted(p, batch)) use_gather(&step);
    const Use* pages = kv_.wanted(p, batch) ? use_kv(&step) : nullptr;
    const Use* rows = activation_.wanted(p, batch) ? use_activation(&step) : nullptr;
    const uint64_t id = emit(std::move(step));
    if (pages != nullptr) write_kv(*pages, id);
    if (rows != nullptr && last_hidden_[batch] != p) write_activation(*rows, id);
    if (ends_head(p) && batches_[batch].logits_bytes > 0) download(p, batch, id);
  }

  void use_panels(int p, Step* step, bool first, bool last) {
    const Position& position = positions_[p];
    const SlotKind slots = options_.accelerator ? SlotKind::device_ring : SlotKind::host_ring;
    SlotRing& ring = options_.accelerator ? device_ring_ : host_ring_;
    for (size_t i = 0; i < position.streamed.size(); ++i) {
      const Carry::Ahead& panel = loaded_[position.first_panel + i];
      step->slots.push_back({slots, panel.slot, false, last});
      if (first) follow(step, panel.ready);
      if (last) ring.release(panel.slot, step->id);
    }
  }

  void use_gather(Step* step) {
    const Use& use = gather_.uses[gather_.consumed++];
    const SlotKind kind = options_.accelerator ? SlotKind::device_gather : SlotKind::gather;
    SlotRing& ring = options_.accelerator ? device_gather_ : gather_.ring;
    step->slots.push_back({kind, use.slot, false, true});
    follow(step, use.ready);
    ring.release(use.slot, step->id);
  }

  const Use* use_kv(Step* step) {
    const Use& use = kv_.uses[kv_.consumed++];
    const BatchShape& batch = batches_[use.batch];
    const bool written_back = batch.kv_write_bytes > 0;
    step->slots.push_back({SlotKind::kv, use.slot, batch.kv_read_bytes == 0, !written_back});
    follow(step, use.ready);
    if (batch.kv_read_bytes == 0) follow(step, old_written(step->visit));
    if (!written_back) kv_.ring.release(use.slot, step->id);
    return written_back ? &use : nullptr;
  }

  void write_kv(const Use& use, uint64_t computed) {
    Step step = make_step(StepKind::kv_write, LaneKind::disk_write, use.position, use.batch);
    step.bytes = batches_[use.batch].kv_write_bytes;
    step.slots.push_back({SlotKind::kv, use.slot, false, true});
    follow(&step, computed);
    kv_.ring.release(use.slot, step.id);
    kv_written_[step.visit] = step.id;
    emit(std::move(step));
  }

  const Use* use_activation(Step* step) {
    const Use& use = activation_.uses[activation_.consumed++];
    const bool last = last_hidden_[use.batch] == use.position;
    step->slots.push_back({SlotKind::activation, use.slot, use.position == 0, last});
    follow(step, use.ready);
    if (last) activation_.ring.release(use.slot, step->id);
    return &use;
  }

  void write_activation(const Use& use, uint64_t computed) {
    Step step =
        make_step(StepKind::activation_write, LaneKind::disk_write, use.position, use.batch);
    step.bytes = batches_[use.batch].activation_bytes;
    step.slots.push_back({SlotKind::activation, use.slot, false, true});
    follow(&step, computed);
    activation_.ring.release(use.slot, step.id);
    written_position_[use.batch] = use.position;
    written_[use.batch] = emit(std::move(step));
  }

  bool ends_head(int p) const {
    return kind(p) == ModuleKind::head && visits_[positions_[p].visit].last_chunk;
  }

  void download(int p, int batch, uint64_t computed) {
    Step step = make_step(StepKind::logits_download, LaneKind::d2h, p, batch);
    step.bytes = batches_[batch].logits_bytes;
    follow(&step, computed);
    emit(std::move(step));
  }

  // ---- what is left to the next sweep ----

  Carry carry() {
    Carry next;
    next.next_id = out_.first_id + out_.steps.size();
    next.host_ring_next = host_ring_.next();
    next.device_ring_next = device_ring_.next();
    next.host_ring_release = host_ring_.releases();
    next.device_ring_release = device_ring_.releases();
    next.gather_release = gather_.ring.releases();
    next.kv_release = kv_.ring.releases();
    next.activation_release = activation_.ring.releases();
    next.device_gather_release = device_gather_.releases();
    next.gather_next = gather_.ring.next();
    next.kv_next = kv_.ring.next();
    next.activation_next = activation_.ring.next();
    next.device_gather_next = device_gather_.next();
    next.kv_written = std::move(kv_written_);
    next.ahead.assign(loaded_.begin() + used_panels(), loaded_.end());
    return next;
  }

  int64_t used_panels() const {
    const Position& last = positions_[running_ - 1];
    return last.first_panel + static_cast<int64_t>(last.streamed.size());
  }

  const std::vector<Visit>& visits_;
  const Program& program_;
  const std::vector<BatchShape>& batches_;
  const BuildOptions& options_;
  const Carry& old_;
  Schedule out_;
  std::vector<Position> positions_;
  std::vector<int> streaming_;        // positions with streamed panels
  int running_ = 0;                   // positions of this sweep
  int64_t panel_count_ = 0;           // streamed panels of all positions
  std::vector<Carry::Ahead> loaded_;  // by number in the stream
  int load_position_ = 0;
  SlotRing host_ring_, device_ring_, device_gather_;
  UseQueue gather_, kv_, activation_;
  std::vector<int> last_hidden_;       // by batch: the last position its hidden rows pass
  std::vector<int> written_position_;  // by batch: of the last activation_write
  std::vector<uint64_t> written_;      // by batch: its id
  std::vector<uint64_t> kv_written_;
};

}  // namespace

Built build_sweep(const std::vector<Visit>& visits, const Program& program,
                  const std::vector<BatchShape>& batches, const BuildOptions& options,
                  const Carry& carry) {
  return SweepBuilder(visits, program, batches, options, carry).build();
}

}  // namespace penstock
