#include "schedule/check.h"

#include <map>
#include <set>
#include <tuple>

#include "schedule/slot_book.h"

namespace penstock {
namespace {

using VisitBatch = std::pair<int, int>;

// What one sweep has done so far.
struct SweepState {
  std::map<VisitBatch, uint64_t> computed, attended;  // steps: compute, host_attention
  std::map<VisitBatch, uint64_t> uploaded;            // exchange_upload
  std::map<VisitBatch, bool> kv_used;                 // attention visits
  std::map<VisitBatch, uint64_t> sent;                // hidden_send, by the visit before
  std::map<int, const Step*> hidden_away;             // by batch: last step that put its rows away
  std::set<int> passes_slots;             // batches whose embedding went to an activation slot
  std::map<int, uint64_t> kv_written;     // by visit: last kv_write
  std::map<int, uint64_t> host_attended;  // by visit: last host_attention
  std::map<int, int> last_visit;          // by batch
};

class Checker {
 public:
  Checker(const std::vector<Visit>& visits, const Program& program, const BuildOptions& options,
          uint64_t first_id)
      : visits_(visits),
        program_(program),
        options_(options),
        next_id_(first_id),
        order_(first_id),
        slots_(options, order_) {}

  std::vector<Finding> run(const std::vector<const Schedule*>& sweeps) {
    for (sweep_ = 0; sweep_ < static_cast<int>(sweeps.size()); ++sweep_) {
      state_ = {};
      sweep_begin_ = next_id_;
      for (const Step& one : sweeps[sweep_]->steps) {
        if (!step(one)) return findings_;
      }
      finish_sweep();
    }
    finish();
    return findings_;
  }

 private:
  void report(const Step& step, const std::string& what) { findings_.push_back({step.id, what}); }
  void expect(bool ok, const Step& step, const std::string& what) {
    if (!ok) report(step, what);
  }

  Tier compute_tier() const { return options_.accelerator ? Tier::device : Tier::host; }
  ModuleKind module_kind(int visit) const { return program_.modules[visits_[visit].module].kind; }

  bool step(const Step& one) {
    if (one.id != next_id_) {
      report(one, "ids do not follow each other");
      return false;
    }
    ++next_id_;
    order_.add(one);
    for (uint64_t id : one.after) expect(id < one.id, one, "follows a step that comes later");
    if (one.visit < 0 || one.visit >= static_cast<int>(visits_.size())) {
      report(one, "names no visit");
      return false;
    }
    const LaneKind lane = lane_of(one.kind);
    const LaneId right{lane, is_on_device(lane) ? visits_[one.visit].device : 0};
    expect(one.lane == right, one, "is on the wrong lane");
    slots_.use(one, [this](const Step& step, const std::string& what) { report(step, what); });
    meaning(one);
    return true;
  }

  void meaning(const Step& one) {
    switch (one.kind) {
      case StepKind::panel_read:
        return panel_read(one);
      case StepKind::panel_upload:
        return panel_upload(one);
      case StepKind::embed_gather:
        return needs_fill(one, SlotKind::gather);
      case StepKind::embed_upload:
        return embed_upload(one);
      case StepKind::kv_read:
        return kv_read(one);
      case StepKind::kv_write:
        return kv_write(one);
      case StepKind::activation_read:
        return activation_read(one);
      case StepKind::activation_upload:
        return activation_upload(one);
      case StepKind::activation_download:
      case StepKind::activation_write:
        return activation_away(one);
      case StepKind::compute:
        return compute(one);
      case StepKind::logits_download:
        return logits_download(one);
      case StepKind::hidden_send:
        return hidden_send(one);
      case StepKind::kv_upload:
        return kv_upload(one);
      case StepKind::exchange_download:
        return exchange_download(one);
      case StepKind::host_attention:
        return host_attention(one);
      case StepKind::exchange_upload:
        return exchange_upload(one);
    }
  }

  // ---- slots ----

  static const SlotUse* find_use(const Step& one, SlotKind kind) {
    return SlotBook::find_use(one, kind);
  }
  const Step* filler(const Step& one, SlotKind kind) const { return slots_.filler(one, kind); }

  void needs_fill(const Step& one, SlotKind kind) {
    const SlotUse* use = find_use(one, kind);
    expect(use != nullptr && use->write, one, std::string("fills no ") + slot_name(kind) + " slot");
  }

  void needs_filler(const Step& one, SlotKind slot, StepKind kind) {
    const Step* from = filler(one, slot);
    const bool filled = from != nullptr && (from->kind == kind || from->kind == StepKind::compute ||
                                            from->kind == StepKind::host_attention ||
                                            from->kind == StepKind::activation_download);
    const bool same = filled && from->visit == one.visit && from->batch == one.batch;
    expect(same, one, std::string("finds something else in its ") + slot_name(slot) + " slot");
  }

  // ---- panels ----

  using PanelKey = std::tuple<int, int, int>;  // sweep, visit, panel
  PanelKey key(const Step& one, int panel) const {
    return {sweep_ + (one.ahead ? 1 : 0), one.visit, panel};
  }

  // The panel of a step, null (and reported) when there is none that has to travel.
  const Panel* panel_of(const Step& one) {
    const std::vector<Panel>& panels = visits_[one.visit].panels;
    const bool known = one.panel >= 0 && one.panel < static_cast<int>(panels.size());
    if (!known || !is_streamed(panels[one.panel], compute_tier())) {
      report(one, "moves a panel that is not streamed");
      return nullptr;
    }
    const Panel& panel = panels[one.panel];
    const bool upload = one.kind == StepKind::panel_upload;
    expect(one.bytes == (upload ? panel.upload_bytes : panel.bytes), one,
           "moves another number of bytes than its panel");
    return &panels[one.panel];
  }

  void panel_read(const Step& one) {
    const Panel* panel = panel_of(one);
    if (panel == nullptr) return;
    expect(panel->home == Tier::disk, one, "reads a panel that is not on disk");
    needs_fill(one, SlotKind::host_ring);
    auto& loads = options_.accelerator ? staged_ : loaded_;
    expect(loads.emplace(key(one, one.panel), &one).second, one, "reads a panel again");
  }

  void panel_upload(const Step& one) {
    const Panel* panel = panel_of(one);
    if (panel == nullptr) return;
    expect(options_.accelerator, one, "uploads where there is no accelerator");
    needs_fill(one, SlotKind::device_ring);
    expect(loaded_.emplace(key(one, one.panel), &one).second, one, "uploads a panel again");
    if (panel->home != Tier::disk) return;
    const auto read = staged_.find(key(one, one.panel));
    expect(read != staged_.end() && filler(one, SlotKind::host_ring) == read->second, one,
           "uploads something else than its panel");
  }

  void needs_panels(const Step& one) {
    const std::vector<Panel>& panels = visits_[one.visit].panels;
    const SlotKind ring = options_.accelerator ? SlotKind::device_ring : SlotKind::host_ring;
    size_t next = 0;
    for (int p = 0; p < static_cast<int>(panels.size()); ++p) {
      if (!is_streamed(panels[p], compute_tier())) continue;
      const auto load = loaded_.find(key(one, p));
      const bool there = load != loaded_.end() && next < one.slots.size() &&
                         one.slots[next].kind == ring &&
                         slots_.filler(one, one.slots[next]) == load->second;
      expect(there, one, "panel " + std::to_string(p) + " is not where it is used");
      ++next;
    }
  }

  // ---- embeddings ----

  void embed_upload(const Step& one) {
    needs_fill(one, SlotKind::device_gather);
    needs_filler(one, SlotKind::gather, StepKind::embed_gather);
  }

  // ---- KV pages ----

  // The layer's pages, written by the sweeps before, are there and may be read or changed.
  void after_old_pages(const Step& one) {
    for (const auto* last : {&kv_written_, &host_attended_}) {
      const auto written = last->find(one.visit);
      if (written == last->end()) continue;
      expect(order_.before(written->second, one.id), one,
             "KV pages may still be written by step " + std::to_string(written->second));
    }
  }

  void kv_read(const Step& one) {
    needs_fill(one, SlotKind::kv);
    const auto written = kv_written_.find(one.visit);  // pages that are not full are not on disk
    if (written == kv_written_.end()) return;
    expect(order_.before(written->second, one.id), one,
           "KV pages may still be written by step " + std::to_string(written->second));
  }

  void kv_upload(const Step& one) {
    needs_fill(one, SlotKind::device_kv);
    if (find_use(one, SlotKind::kv)) needs_filler(one, SlotKind::kv, StepKind::kv_read);
    after_old_pages(one);
  }

  void kv_write(const Step& one) {
    needs_filler(one, SlotKind::kv, StepKind::kv_read);
    if (options_.accelerator) {
      needs(one, state_.attended, "its pages may not be filled yet");
    } else {
      needs_computed(one);
    }
    state_.kv_written[one.visit] = one.id;
  }

  void needs(const Step& one, const std::map<VisitBatch, uint64_t>& done, const char* what) {
    const auto found = done.find({one.visit, one.batch});
    expect(found != done.end() && order_.before(found->second, one.id), one, what);
  }
  void needs_computed(const Step& one) {
    needs(one, state_.computed, "its micro-batch may not be computed yet");
  }

  // ---- to host attention and back ----

  void exchange_download(const Step& one) {
    needs_fill(one, SlotKind::exchange);
    needs_filler(one, SlotKind::device_exchange, StepKind::compute);
    needs_computed(one);
  }

  void host_attention(const Step& one) {
    needs_filler(one, SlotKind::exchange, StepKind::exchange_download);
    if (find_use(one, SlotKind::kv)) needs_filler(one, SlotKind::kv, StepKind::kv_read);
    after_old_pages(one);
    expect(state_.attended.emplace(VisitBatch{one.visit, one.batch}, one.id).second, one,
           "is attended again");
    state_.host_attended[one.visit] = one.id;
  }

  void exchange_upload(const Step& one) {
    needs_filler(one, SlotKind::exchange, StepKind::exchange_download);
    needs_filler(one, SlotKind::device_exchange, StepKind::compute);
    needs(one, state_.attended, "host attention may not be over yet");
    state_.uploaded[{one.visit, one.batch}] = one.id;
  }

  // A module after attention that stands apart.
  void joins(const Step& one) {
    const Step* from = filler(one, SlotKind::device_exchange);
    const bool own = from != nullptr && from->visit == one.visit - 1 && from->batch == one.batch;
    expect(own, one, "misses what attention gave");
    const auto uploaded = state_.uploaded.find({one.visit - 1, one.batch});
    expect(uploaded == state_.uploaded.end() || order_.before(uploaded->second, one.id), one,
           "what the host attended may not be there yet");
  }

  // ---- activations ----

  SlotKind rows_slot() const {
    return options_.accelerator ? SlotKind::device_activation : SlotKind::activation;
  }

  // The rows, as the visit before left them, have been put away.
  void needs_away(const Step& one) {
    const auto away = state_.hidden_away.find(one.batch);
    const auto before = state_.computed.find({one.visit - 1, one.batch});
    const bool written = away != state_.hidden_away.end() && before != state_.computed.end() &&
                         order_.before(before->second, away->second->id) &&
                         order_.before(away->second->id, one.id);
    expect(written, one, "the rows of the visit before may not be written yet");
  }

  void activation_read(const Step& one) {
    needs_fill(one, SlotKind::activation);
    needs_away(one);
  }

  void activation_upload(const Step& one) {
    needs_fill(one, SlotKind::device_activation);
    needs_away(one);
    if (find_use(one, SlotKind::activation)) {
      needs_filler(one, SlotKind::activation, StepKind::activation_read);
    }
  }

  void activation_away(const Step& one) {
    const bool up = one.kind == StepKind::activation_download;
    needs_filler(one, up ? SlotKind::device_activation : SlotKind::activation,
                 up ? StepKind::activation_upload : StepKind::activation_read);
    needs_computed(one);
    const auto away = state_.hidden_away.find(one.batch);
    if (!up && options_.accelerator) {
      expect(away != state_.hidden_away.end() && order_.before(away->second->id, one.id), one,
             "its rows may not have come down yet");
    }
    state_.hidden_away[one.batch] = &one;
  }

  void needs_hidden(const Step& one) {
    const ModuleKind kind = module_kind(one.visit);
    const bool uses = find_use(one, rows_slot()) != nullptr;
    if (kind == ModuleKind::embed && uses) state_.passes_slots.insert(one.batch);
    const bool passes = kind != ModuleKind::head || visits_[one.visit].first_chunk;
    expect(uses == (passes && state_.passes_slots.contains(one.batch)), one,
           uses ? "takes hidden rows from a slot that are elsewhere" : "misses its hidden rows");
    if (!uses) return arrived(one);
    const Step* from = filler(one, rows_slot());
    const int first = joined(one.visit) ? one.visit - 1 : one.visit;
    const bool own = from != nullptr && from->batch == one.batch && from->visit == first;
    expect(own, one, "finds something else in its hidden rows' slot");
  }

  bool changes_device(int visit) const {
    return visit > 0 && visits_[visit].device != visits_[visit - 1].device;
  }

  void hidden_send(const Step& one) {
    const bool leaves = one.visit + 1 < static_cast<int>(visits_.size()) &&
                        changes_device(one.visit + 1) && one.bytes > 0;
    expect(leaves, one, "sends rows that are not wanted elsewhere");
    needs_computed(one);
    state_.sent[{one.visit, one.batch}] = one.id;
  }

  // Rows that are kept where the model computes have come from the device before.
  void arrived(const Step& one) {
    if (!changes_device(one.visit)) return;
    const auto sent = state_.sent.find({one.visit - 1, one.batch});
    expect(sent != state_.sent.end() && order_.before(sent->second, one.id), one,
           "its hidden rows may not have come from the device before");
  }

  // Attention that follows a layer in one go.
  bool joined(int visit) const {
    return program_.form == AttentionForm::apart && visit > 0 && !changes_device(visit) &&
           module_kind(visit) == ModuleKind::attention && module_kind(visit - 1) == ModuleKind::mlp;
  }

  // ---- compute ----

  void compute(const Step& one) {
    expect(state_.computed.emplace(VisitBatch{one.visit, one.batch}, one.id).second, one,
           "is computed again");
    const bool follows = state_.last_visit.contains(one.batch)
                             ? one.visit == state_.last_visit[one.batch] + 1
                             : one.visit == 0;
    expect(follows, one, "does not follow the visit before");
    state_.last_visit[one.batch] = one.visit;
    expect(one.batch >= 0 && !one.ahead, one, "computes no micro-batch of this sweep");
    needs_panels(one);
    needs_hidden(one);
    const ModuleKind kind = module_kind(one.visit);
    if (kind == ModuleKind::embed) {
      const bool device = options_.accelerator;
      needs_filler(one, device ? SlotKind::device_gather : SlotKind::gather,
                   device ? StepKind::embed_upload : StepKind::embed_gather);
    }
    if (kind == ModuleKind::attention) attend(one);
    if (kind == ModuleKind::mlp && program_.form == AttentionForm::apart) joins(one);
  }

  void attend(const Step& one) {
    const SlotKind pages = options_.accelerator ? SlotKind::device_kv : SlotKind::kv;
    const bool uses = find_use(one, pages) != nullptr;
    state_.kv_used[{one.visit, one.batch}] = uses;
    if (!uses) return;
    needs_filler(one, pages, options_.accelerator ? StepKind::kv_upload : StepKind::kv_read);
    if (!options_.accelerator) after_old_pages(one);
  }

  void logits_download(const Step& one) {
    expect(module_kind(one.visit) == ModuleKind::head, one, "downloads logits of another module");
    needs_computed(one);
  }

  // ---- ends ----

  void finish_sweep() {
    std::set<int> batches, head_batches;
    for (const auto& [which, id] : state_.computed) {
      batches.insert(which.second);
      if (module_kind(which.first) == ModuleKind::head) head_batches.insert(which.second);
    }
    const uint64_t last = next_id_ - 1;
    if (batches.empty()) findings_.push_back({last, "a sweep computes nothing"});
    for (int v = 0; v < static_cast<int>(visits_.size()); ++v) {
      for (int b : module_kind(v) == ModuleKind::head ? head_batches : batches) {
        if (state_.computed.contains({v, b})) continue;
        findings_.push_back(
            {last, "visit " + std::to_string(v) + " misses micro-batch " + std::to_string(b)});
      }
    }
    std::map<int, std::set<bool>> kv;
    for (const auto& [which, used] : state_.kv_used) kv[which.second].insert(used);
    for (const auto& [batch, used] : kv) {
      if (used.size() > 1)
        findings_.push_back(
            {last, "only some layers have the KV pages of micro-batch " + std::to_string(batch)});
    }
    for (const auto& [visit, id] : state_.kv_written) kv_written_[visit] = id;
    for (const auto& [visit, id] : state_.host_attended) host_attended_[visit] = id;
  }

  void finish() {
    slots_.each([&](SlotKind kind, const SlotBook::Stay& now) {
      const bool for_later = now.live && now.filler->ahead && now.filler->id >= sweep_begin_;
      if (!now.live || for_later) return;
      report(*now.filler, std::string("its ") + slot_name(kind) + " slot is never given back");
    });
  }

  const std::vector<Visit>& visits_;
  const Program& program_;
  const BuildOptions& options_;
  uint64_t next_id_;
  StepOrder order_;
  SlotBook slots_;
  int sweep_ = 0;
  uint64_t sweep_begin_ = 0;  // id of its first step
  SweepState state_;
  std::map<PanelKey, const Step*> staged_,
      loaded_;  // in a host slot of an accelerator; ready for use
  // By visit: last kv_write and host_attention of the sweeps before.
  std::map<int, uint64_t> kv_written_, host_attended_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> check_schedules(const std::vector<const Schedule*>& sweeps,
                                     const std::vector<Visit>& visits, const Program& program,
                                     const BuildOptions& options) {
  if (sweeps.empty()) return {};
  return Checker(visits, program, options, sweeps.front()->first_id).run(sweeps);
}

}  // namespace penstock
