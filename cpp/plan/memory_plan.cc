#include "plan/memory_plan.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/checked.h"
#include "plan/layout.h"
#include "plan/request_lengths.h"
#include "tensor/units.h"

namespace penstock {
namespace {

constexpr int kKvStagingSlots = 3, kActivationSlots = 3, kExchangeSlots = 3;
constexpr int kSpareRingSlots = 4;  // reads in flight while a visit's slots are given back
constexpr int64_t kEngineBytes = int64_t{256} << 10;
constexpr int64_t kStepBytes = 384, kSlotUseBytes = 16, kSequenceBytes = 4096, kBlockBytes = 64;

int64_t lines(int64_t bytes) { return round_up(bytes, kLineBytes); }

class Layout {
 public:
  Layout(const PlanInput& input, const ResolvedPolicy& policy, const WeightSummary& weights)
      : input_(input),
        policy_(policy),
        weights_(weights),
        lengths_(request_lengths(input)),
        compute_(compute_tier(input)),
        split_(policy.device_layers) {
    plan_.device_total.resize(accelerator() ? split_.devices() : 0);
  }

  MemoryPlan plan() {
    counts();
    kv_counts();
    weight_items();
    batch_items();
    head_items();
    kv_items();
    fixed_items();
    return std::move(plan_);
  }

 private:
  const ModelSpec& spec() const { return *input_.spec; }
  int64_t batch_rows() const { return policy_.micro_batch_tokens; }
  int64_t layers() const { return static_cast<int64_t>(spec().layers.size()); }

  void add(Tier tier, const char* label, int64_t bytes, int device = 0) {
    if (bytes <= 0) return;
    const auto rounded = static_cast<uint64_t>(round_up(bytes, kPageBytes));
    plan_.items.push_back({tier, device, label, rounded});
    plan_.total[static_cast<int>(tier)] += rounded;
    if (tier == Tier::device) plan_.device_total.at(device) += rounded;
  }

  // As many bytes where each device computes; as many on each accelerator.
  void add_everywhere(const char* label, int64_t bytes) {
    for (int device = 0; device < split_.devices(); ++device) add(compute_, label, bytes, device);
  }
  void add_on_devices(const char* label, int64_t bytes) {
    if (accelerator()) add_everywhere(label, bytes);
  }

  int64_t layers_of(int device) const {
    int64_t count = 0;
    for (int layer = 0; layer < layers(); ++layer) count += split_.of_layer(layer) == device;
    return count;
  }

  void counts() {
    plan_.head_columns = weights_.head_columns;
    plan_.sweep_tokens = policy_.micro_batches * batch_rows();
    plan_.logit_rows = policy_.sweep_rows();
    plan_.head_rows = plan_.sweep_tokens;
    hidden_counts();
    if (weights_.panels == 0) return;
    const int slots =
        policy_.ring_slots > 0 ? policy_.ring_slots : comfortable_ring_slots(weights_, policy_);
    const int least = smallest_ring_slots(weights_, policy_);
    const int ring = std::max(slots, least);
    plan_.ring_slot_bytes =
        round_up(static_cast<int64_t>(weights_.max_panel_bytes), kPageBytes) + 2 * kPageBytes;
    plan_.ring_slots = compute_ == Tier::host || weights_.visit_disk_panels > 0 ? ring : 0;
    plan_.device_ring_slots = compute_ == Tier::device ? ring : 0;
  }

  bool accelerator() const { return compute_ == Tier::device; }

  void hidden_counts() {
    const int64_t batches = policy_.micro_batches;
    const int64_t on_disk = std::llround(policy_.activations.disk * static_cast<double>(batches));
    const double host = accelerator() ? policy_.activations.host : 0;
    const int64_t below =
        std::min<int64_t>(batches - on_disk, std::llround(host * static_cast<double>(batches)));
    plan_.hidden_disk_tokens = on_disk * batch_rows();
    plan_.hidden_host_tokens = below * batch_rows();
    plan_.hidden_tokens = (batches - on_disk - below) * batch_rows();
    plan_.activation_slots = on_disk + below > 0 ? kActivationSlots : 0;
    plan_.activation_host_slots = accelerator() && on_disk > 0 ? kActivationSlots : 0;
  }

  int64_t pages(int64_t tokens) const { return ceil_div(tokens, policy_.page_tokens); }

  // Pages of one layer that `sequences` rows hold, at least those of the longest. `whole`: their
  // final lengths count.
  int64_t pages_of(int64_t sequences, bool whole) const {
    if (sequences == 0) return 0;
    const int64_t longest = pages(lengths_.longest);
    if (policy_.admission == Admission::block) return sequences * longest;
    const int64_t tokens = whole ? lengths_.mean : lengths_.flying;
    const double each = whole ? static_cast<double>(pages(tokens))
                              : static_cast<double>(tokens) / policy_.page_tokens + 0.5;
    const auto sum = static_cast<int64_t>(std::ceil(each * static_cast<double>(sequences - 1)));
    return std::min(sum + longest, sequences * longest);
  }

  // Sequences with pages below the compute tier, and the part of their pages that is there.
  void kv_sequences() {
    const auto sequences = static_cast<double>(policy_.max_sequences);
    const Shares& share = policy_.kv;
    if (!policy_.kv_split) {
      plan_.kv_disk_sequences = std::llround(share.disk * sequences);
      const int64_t host = accelerator() ? std::llround(share.host * sequences) : 0;
      plan_.kv_host_sequences =
          std::min<int64_t>(policy_.max_sequences - plan_.kv_disk_sequences, host);
      return;
    }
    const double host = accelerator() ? share.host : 0, below = share.disk + host;
    if (below <= 0) return;
    plan_.kv_disk_sequences = std::llround(share.disk / below * sequences);
    plan_.kv_host_sequences = policy_.max_sequences - plan_.kv_disk_sequences;
    if (!accelerator()) plan_.kv_host_sequences = 0;
  }

  double below_part() const {
    return policy_.kv_split ? policy_.kv.disk + (accelerator() ? policy_.kv.host : 0) : 1;
  }

  // Of `count` pages of rows that are divided: those below, or those above. A cut may be off by its
  // unit in one row at a time, and what is owed to the share by another.
  int64_t part_of(int64_t count, double part) const {
    if (count == 0 || part <= 0) return 0;
    if (!policy_.kv_split) return count;
    const auto share = static_cast<int64_t>(std::ceil(part * static_cast<double>(count)));
    return std::min(count, share + 2 * kv_cut_pages(policy_));
  }

  void kv_counts() {
    plan_.kv = {input_.kv, spec().attention.kv_heads, spec().attention.head_dim,
                policy_.page_tokens};
    kv_sequences();
    const int64_t rows = input_.workload.rows, sequences = policy_.max_sequences;
    const int64_t on_disk = plan_.kv_disk_sequences, on_host = plan_.kv_host_sequences;
    const bool together = rows > 0 && rows <= sequences;
    const double below = below_part();
    int64_t here = pages_of(sequences - on_disk - on_host, together);
    // What is divided: pages above are the last ones, so count rows at their ends.
    if (policy_.kv_split) here += part_of(pages_of(on_disk + on_host, true), 1 - below);
    const int64_t host = part_of(pages_of(on_host, together || policy_.kv_split), below);
    plan_.kv_blocks = layers() * (here + (accelerator() ? 0 : on_disk));
    plan_.kv_host_blocks = accelerator() ? layers() * (host + on_disk) : 0;
    device_kv_counts();
    if (on_disk == 0) return;
    const int64_t unit = round_up(plan_.kv.page_bytes(), kPageBytes);
    const int64_t spare = on_disk > 1 ? pages(lengths_.longest) : 0;  // extents leave gaps
    plan_.kv_disk_bytes = layers() * (part_of(pages_of(on_disk, true), below) + spare) * unit;
    plan_.kv_staging_slots = kKvStagingSlots;
    plan_.kv_staging_bytes = staged_pages(on_disk) * unit;
  }

  // Pages of one micro-batch that pass through a staging slot.
  int64_t staged_pages(int64_t sequences) const {
    return pages_of(std::min<int64_t>(sequences, policy_.micro_batch), true);
  }

  void device_kv_counts() {
    const int64_t below = plan_.kv_host_sequences + plan_.kv_disk_sequences;
    const bool apart = accelerator() && policy_.host_attention;
    if (!accelerator() || (below == 0 && !apart)) return;
    const AttentionSpec& attention = spec().attention;
    plan_.exchange = {batch_rows(), apart, int64_t{attention.heads} * attention.head_dim,
                      int64_t{attention.kv_heads} * attention.head_dim, attention.heads};
    plan_.exchange_slots = apart ? policy_.micro_batches : kExchangeSlots;
    if (below == 0) return;
    // Decoding rows attended by the host bring nothing up.
    const int64_t prompts = pages(lengths_.longest) + pages(batch_rows());
    const int64_t staged = apart ? std::min(prompts, staged_pages(below)) : staged_pages(below);
    plan_.device_kv_slots = kKvStagingSlots;
    plan_.device_kv_bytes = staged * lines(plan_.kv.page_bytes());
  }

  void weight_items() {
    std::vector<int64_t> vectors(split_.devices(), 0);
    for (const WeightInfo& info : input_.weights->all()) {
      if (info.kind != WeightKind::vector) continue;
      vectors[split_.of_weight(info)] += lines(info.rows * info.cols * 4);
    }
    const auto frequencies = static_cast<int64_t>(spec().rotary.inv_freq.size()) * 4;
    for (int device = 0; device < split_.devices(); ++device) {
      const int64_t bytes =
          round_up(std::max(vectors[device], kLineBytes), kPageBytes) + frequencies;
      add(compute_, "vectors", bytes, device);
    }
    for (size_t device = 0; device < weights_.device_bytes.size(); ++device) {
      add(Tier::device, "weights", static_cast<int64_t>(weights_.device_bytes[device]),
          static_cast<int>(device));
    }
    add(Tier::host, "weights", static_cast<int64_t>(weights_.host_bytes));
    const auto slot = static_cast<int64_t>(plan_.ring_slot_bytes);
    add(Tier::host, "ring", plan_.ring_slots * slot);
    add_on_devices("ring", plan_.device_ring_slots * slot);
  }

  void batch_items() {
    const int64_t element = dtype_bytes(spec().dtype), rows = batch_rows();
    int64_t gather = lines(rows * spec().embed_dim * element);
    if (spec().positions == PositionType::learned) gather += lines(rows * spec().hidden * element);
    add(Tier::host, "gather", plan_.gather_slots * gather);
    if (compute_ == Tier::device) add(Tier::device, "gather", plan_.gather_slots * gather);
    const int64_t sweeps = policy_.sweeps();
    add_everywhere("hidden", sweeps * plan_.hidden_tokens * spec().hidden * 4);
    add(Tier::host, "hidden", sweeps * plan_.hidden_host_tokens * spec().hidden * 4);
    add_everywhere("work", work_bytes());
    add_everywhere("activation slots", plan_.activation_slots * activation_unit());
    add(Tier::host, "activation slots", plan_.activation_host_slots * activation_unit());
    const int64_t units = plan_.hidden_disk_tokens / std::max<int64_t>(1, rows);
    add(Tier::disk, "activations", sweeps * units * activation_unit());
  }

  int64_t activation_unit() const { return round_up(batch_rows() * spec().hidden * 4, kPageBytes); }

  // Registers of the widest module, and one prepared input.
  int64_t work_bytes() const {
    const auto sum = [&](std::initializer_list<Reg> regs) {
      int64_t bytes = 0;
      for (Reg reg : regs) {
        bytes += lines(input_.program->reg_width[static_cast<int>(reg)] * batch_rows() * 4);
      }
      return bytes;
    };
    const int64_t registers =
        std::max({sum({Reg::embedded}), sum({Reg::normed, Reg::gate, Reg::up}),
                  sum({Reg::normed, Reg::q, Reg::k, Reg::v, Reg::attended})});
    int64_t prepared = 0;
    for (const WeightInfo& info : input_.weights->all()) {
      if (info.kind != WeightKind::matrix) continue;
      const QuantFormat& f = format(input_.formats.at(info.id));
      prepared = std::max(prepared, prepared_row_bytes(f, info.cols, input_.compute));
    }
    return registers + prepared * batch_rows();
  }

  void head_items() {
    const int64_t rows = plan_.head_rows;
    const bool projects = input_.weights->find(Role::project_out) >= 0;
    int64_t head = lines(rows * spec().hidden * 4);
    if (projects) head += lines(rows * spec().embed_dim * 4);
    const int64_t results = lines(rows * kScoreStateBytes) + lines(plan_.logit_rows * 4);
    head += lines(batch_rows() * plan_.head_columns * 4) + results;
    const int64_t sweeps = policy_.sweeps();
    add(compute_, "head", sweeps * head, split_.last());
    const int64_t logits = plan_.logit_rows * spec().vocab * 4;
    if (compute_ == Tier::device) {
      add(Tier::device, "logits", sweeps * logits, split_.last());
      add(Tier::host, "logits", sweeps * (logits + results));
    } else {
      add(Tier::host, "logits", logits);
    }
  }

  void kv_items() {
    for (int device = 0; device < split_.devices(); ++device) {
      const int64_t blocks = plan_.kv_blocks / layers() * layers_of(device);
      add(compute_, "kv", blocks * plan_.kv.page_bytes(), device);
    }
    add(Tier::host, "kv", plan_.kv_host_blocks * plan_.kv.page_bytes());
    add(Tier::host, "kv staging",
        plan_.kv_staging_slots * static_cast<int64_t>(plan_.kv_staging_bytes));
    add_on_devices("kv staging",
                   plan_.device_kv_slots * static_cast<int64_t>(plan_.device_kv_bytes));
    add(Tier::host, "exchange", plan_.exchange_slots * plan_.exchange.bytes());
    add_on_devices("exchange", plan_.exchange_slots * plan_.exchange.bytes());
    add(Tier::disk, "kv", static_cast<int64_t>(plan_.kv_disk_bytes));
  }

  void fixed_items() {
    const int64_t computes = weights_.traffic.visits * policy_.micro_batches;
    const int64_t uses = weights_.panels * policy_.micro_batches;
    const int64_t each = accelerator() ? 6 : 2;  // steps of a micro-batch in a visit, about
    const int64_t steps = policy_.sweeps() * ((2 * weights_.panels + each * computes) * kStepBytes +
                                              uses * kSlotUseBytes);
    const int64_t units = static_cast<int64_t>(plan_.kv_disk_bytes) / kPageBytes;
    const int64_t tables =
        (plan_.kv_blocks + plan_.kv_host_blocks + units) * kBlockBytes +
        (policy_.max_sequences + policy_.sweeps() * plan_.sweep_tokens / 16) * kSequenceBytes;
    // Attention beside an accelerator has workers of its own.
    const int pools = split_.devices() + (plan_.exchange_slots > 0 ? 1 : 0);
    add(Tier::host, "kernel scratch",
        pools * policy_.threads * static_cast<int64_t>(kScratchBytesPerWorker));
    add_on_devices("own needs", static_cast<int64_t>(input_.own_device_bytes));
    add(Tier::host, "own needs", split_.devices() * static_cast<int64_t>(input_.own_host_bytes));
    add(Tier::host, "io", kFileWorkers * kFileBounceBytes);
    add(Tier::host, "engine", kEngineBytes + 2 * steps + tables);
    add(Tier::host, "reserved", static_cast<int64_t>(input_.reserved_host_bytes));
  }

  const PlanInput& input_;
  const ResolvedPolicy& policy_;
  const WeightSummary& weights_;
  RequestLengths lengths_;
  Tier compute_;
  DeviceSplit split_;
  MemoryPlan plan_;
};

void count_panels(const Visit& visit, Tier compute, WeightSummary* summary, int* slots) {
  int from_disk = 0;
  for (const Panel& panel : visit.panels) {
    summary->traffic.matrix_bytes += panel.bytes;
    if (!is_streamed(panel, compute)) continue;
    ++*slots;
    from_disk += panel.home == Tier::disk;
    if (panel.home == Tier::disk) summary->traffic.disk_bytes += panel.bytes;
    if (compute == Tier::device) summary->traffic.upload_bytes += panel.upload_bytes;
  }
  summary->visit_disk_panels = std::max(summary->visit_disk_panels, from_disk);
}

void count_visit(const Visit& visit, const PlanInput& input, WeightSummary* summary, int* before) {
  WeightTraffic& traffic = summary->traffic;
  const WeightTraffic old = traffic;
  int slots = 0;
  count_panels(visit, compute_tier(input), summary, &slots);
  summary->visit_panels = std::max(summary->visit_panels, slots);
  summary->layer_panels = std::max(summary->layer_panels, slots + *before);
  summary->panels += slots;
  *before = slots;
  ++traffic.visits;
  const ModuleKind kind = input.program->modules.at(visit.module).kind;
  traffic.attention_visits += kind == ModuleKind::attention;
  if (kind != ModuleKind::head) return;
  ++traffic.head_visits;
  traffic.head_disk_bytes += traffic.disk_bytes - old.disk_bytes;
  traffic.head_upload_bytes += traffic.upload_bytes - old.upload_bytes;
  traffic.head_matrix_bytes += traffic.matrix_bytes - old.matrix_bytes;
}

}  // namespace

int kv_cut_pages(const ResolvedPolicy& policy) {
  return policy.host_attention ? kAttentionSegment / policy.page_tokens : 1;
}

const Program& program_of(const PlanInput& input, const ResolvedPolicy& policy) {
  return policy.host_attention ? *input.apart : *input.program;
}

Tier compute_tier(const PlanInput& input) { return input.accelerator ? Tier::device : Tier::host; }

WeightPlan place(const PlanInput& input, const ResolvedPolicy& policy) {
  PlacementOptions options;
  options.compute = compute_tier(input);
  options.shares = policy.weights;
  options.device_layers = policy.device_layers;
  options.panel_bytes = policy.panel_bytes;
  options.whole_tensors = policy.whole_tensors;
  return place_weights(program_of(input, policy), *input.weights, input.formats, options);
}

WeightSummary summarise(const PlanInput& input, const WeightPlan& plan) {
  WeightSummary summary;
  summary.max_panel_bytes = plan.max_panel_bytes;
  summary.head_columns = plan.head_columns;
  int before = 0;
  for (const Visit& visit : plan.visits) count_visit(visit, input, &summary, &before);
  for (const WeightInfo& info : input.weights->all()) {
    if (plan.alias[info.id] >= 0) continue;
    for (const Segment& s : plan.placements[info.id].segments) {
      const uint64_t bytes = stored_bytes(info, plan.formats[info.id], s.begin, s.end);
      if (s.place.tier == Tier::host) summary.host_bytes += lines(static_cast<int64_t>(bytes));
      if (s.place.tier != Tier::device) continue;
      const auto device = static_cast<size_t>(s.place.ordinal);
      summary.device_bytes.resize(std::max(summary.device_bytes.size(), device + 1));
      summary.device_bytes[device] += lines(static_cast<int64_t>(bytes));
    }
  }
  return summary;
}

bool fits(const PlanInput& input, const MemoryPlan& plan, Tier tier) {
  if (tier == Tier::host) return plan.total[static_cast<int>(tier)] <= input.host_bytes;
  if (tier == Tier::disk) return plan.total[static_cast<int>(tier)] <= input.disk_bytes;
  for (size_t device = 0; device < plan.device_total.size(); ++device) {
    if (plan.device_total[device] > input.device_bytes.at(device)) return false;
  }
  return true;
}

int joined_panels(const WeightSummary& weights, const ResolvedPolicy& policy) {
  return policy.host_attention ? weights.layer_panels : weights.visit_panels;
}

int smallest_ring_slots(const WeightSummary& weights, const ResolvedPolicy& policy) {
  const int64_t joined = joined_panels(weights, policy);
  return static_cast<int>(std::min<int64_t>(weights.panels, joined + 1));
}

int comfortable_ring_slots(const WeightSummary& weights, const ResolvedPolicy& policy) {
  const int64_t layers = std::max(0, (policy.lookahead + 1) / 2 - 1);
  const int64_t slots =
      2 * joined_panels(weights, policy) + kSpareRingSlots + layers * weights.layer_panels;
  return static_cast<int>(std::min<int64_t>(slots, weights.panels));
}

MemoryPlan lay_out(const PlanInput& input, const ResolvedPolicy& policy,
                   const WeightSummary& weights) {
  return Layout(input, policy, weights).plan();
}

MemoryPlan memory_plan(const PlanInput& input, const ResolvedPolicy& policy) {
  WeightPlan weights = place(input, policy);
  MemoryPlan plan = lay_out(input, policy, summarise(input, weights));
  plan.weights = std::move(weights);
  return plan;
}

}  // namespace penstock
