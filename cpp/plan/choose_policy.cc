#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <limits>
#include <map>

#include "base/checked.h"
#include "base/error.h"
#include "plan/estimate.h"
#include "plan/layout.h"
#include "plan/memory_plan.h"
#include "plan/pace.h"
#include "plan/policy_shape.h"
#include "plan/request_lengths.h"

namespace penstock {
namespace {

constexpr int kGrid = 64;  // steps of the weight share while searching
constexpr double kClearlyBetter = 0.99;
constexpr int kMostSequences = 4096, kMostSweepTokens = 1 << 15;
constexpr std::array kBatchTokens = {16, 32, 64, 128, 256, 512};
constexpr int kSmallestBatchTokens = kBatchTokens[0];

// A share of the weights on the grid; the rest is on disk.
struct GridShare {
  int device = 0, host = 0;
  auto operator<=>(const GridShare&) const = default;
  Shares shares() const {
    return {device / double{kGrid}, host / double{kGrid}, (kGrid - device - host) / double{kGrid}};
  }
};

class Chooser {
 public:
  Chooser(const PlanInput& input, const Policy& wanted)
      : input_(input),
        wanted_(wanted),
        shape_(input, wanted),
        base_(shape_.base()),
        lengths_(request_lengths(input)),
        estimator_(input) {}

  Chosen choose() {
    start_from_smallest();
    search();
    refine();
    Chosen chosen{best_, memory_plan(input_, best_), ""};
    check(fits(chosen.memory), "a chosen policy fits the budgets");
    const auto own_pace = [&] { return choose_pace(input_, best_, chosen.memory); };
    chosen.policy.pace = wanted_.pace ? *wanted_.pace : own_pace();
    chosen.why = explain(chosen);
    return chosen;
  }

 private:
  std::vector<int> sequence_counts() const {
    const int64_t rows = input_.workload.rows;
    const auto most =
        static_cast<int>(std::min<int64_t>(rows > 0 ? rows : kMostSequences, kMostSequences));
    if (wanted_.max_sequences) {
      return {static_cast<int>(std::min<int64_t>(*wanted_.max_sequences, rows > 0 ? rows : most))};
    }
    if (wanted_.micro_batch && wanted_.micro_batches) {
      const int64_t asked = int64_t{*wanted_.micro_batch} * *wanted_.micro_batches * base_.sweeps();
      return {static_cast<int>(std::min<int64_t>(asked, rows > 0 ? rows : 1 << 20))};
    }
    std::vector<int> counts;
    for (int count = 1; count < most; count += std::max(1, count / 8)) counts.push_back(count);
    counts.push_back(most);
    return counts;
  }

  // ---- does it fit ----

  bool weights_open() const { return !wanted_.weight_share; }

  const WeightSummary& summary(GridShare share) {
    auto found = summaries_.find(share);
    if (found == summaries_.end()) {
      ResolvedPolicy policy = base_;
      if (weights_open()) policy.weights = share.shares();
      found = summaries_.emplace(share, summarise(input_, place(input_, policy))).first;
    }
    return found->second;
  }

  MemoryPlan sizes(const ResolvedPolicy& policy, GridShare share) {
    return lay_out(input_, policy, summary(share));
  }

  bool fits(const MemoryPlan& plan, Tier tier) const { return penstock::fits(input_, plan, tier); }
  bool fits(const MemoryPlan& plan) const {
    return fits(plan, Tier::host) && fits(plan, Tier::disk) && fits(plan, Tier::device);
  }

  // The largest step in [0, most] that fits; -1 when none does.
  static int largest(int most, const std::function<bool(int)>& fits) {
    if (fits(most)) return most;
    if (most == 0 || !fits(0)) return -1;
    int low = 0, high = most;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (fits(middle) ? low : high) = middle;
    }
    return low;
  }

  // As much of the weights as fits, nearest the device first. False when nothing does.
  bool place_most(const ResolvedPolicy& policy, GridShare* share) {
    *share = {};
    if (!weights_open()) return fits(sizes(policy, *share));
    if (input_.accelerator) {
      share->device = largest(
          kGrid, [&](int step) { return fits(sizes(policy, {step, kGrid - step}), Tier::device); });
      if (share->device < 0) return false;
    }
    share->host = largest(kGrid - share->device,
                          [&](int step) { return fits(sizes(policy, {share->device, step})); });
    return share->host >= 0;
  }

  // ---- the smallest policy ----

  std::vector<ResolvedPolicy> smallest_policies() const {
    ResolvedPolicy policy = shape_.shape(sequence_counts().front(), kSmallestBatchTokens, 1);
    policy.ring_slots = wanted_.ring_slots.value_or(1);  // raised to what one visit needs
    std::vector<ResolvedPolicy> policies;
    for (const Shares& kv : kv_choices()) {
      policy.kv = kv;
      policies.push_back(policy);
      if (!input_.accelerator || wanted_.activation_share) continue;
      policy.activations = {0, 1, 0};
      policies.push_back(policy);
      policy.activations = base_.activations;
    }
    return policies;
  }

  std::vector<GridShare> extreme_shares() const {
    if (!weights_open()) return {{}};
    if (!input_.accelerator) return {{0, 0}, {0, kGrid}};
    return {{0, 0}, {0, kGrid}, {kGrid, 0}};
  }

  // Refuses budgets that no policy fits. Tier by tier, so that each figure is the least for that
  // tier.
  void start_from_smallest() {
    std::vector<std::pair<ResolvedPolicy, GridShare>> left;
    for (const ResolvedPolicy& policy : smallest_policies()) {
      for (GridShare share : extreme_shares()) left.push_back({policy, share});
    }
    for (Tier tier : {Tier::disk, Tier::device, Tier::host}) {
      Needed least{std::numeric_limits<uint64_t>::max(), 0};
      std::vector<std::pair<ResolvedPolicy, GridShare>> fitting;
      for (const auto& option : left) {
        const MemoryPlan plan = sizes(option.first, option.second);
        const Needed needed = most_wanting(plan, tier);
        if (needed.bytes < least.bytes) least = needed;
        if (fits(plan, tier)) fitting.push_back(option);
      }
      if (fitting.empty()) refuse_budget(tier, least);
      left = std::move(fitting);
    }
    for (const auto& [policy, share] : left) consider(policy, share);
  }

  // What a policy needs of a tier, and what there is of it; of several devices, on the one that
  // lacks most.
  struct Needed {
    uint64_t bytes, budget;
  };
  Needed most_wanting(const MemoryPlan& plan, Tier tier) const {
    const uint64_t total = plan.total[static_cast<int>(tier)];
    if (tier == Tier::host) return {total, input_.host_bytes};
    if (tier == Tier::disk) return {total, input_.disk_bytes};
    Needed worst{0, 0};
    double fullest = -1;
    for (size_t device = 0; device < plan.device_total.size(); ++device) {
      const Needed needed{plan.device_total[device], input_.device_bytes.at(device)};
      const double full = static_cast<double>(needed.bytes) /
                          static_cast<double>(std::max<uint64_t>(1, needed.budget));
      if (full > fullest) worst = needed;
      fullest = std::max(fullest, full);
    }
    return worst;
  }

  [[noreturn]] void refuse_budget(Tier tier, Needed least) const {
    const std::string name(tier_name(tier));
    throw Error(ErrorCode::budget, "the " + name + " memory budget is too small for this model",
                {"", name + "_memory", std::to_string(least.budget) + " bytes",
                 "at least " + std::to_string(least.bytes) + " bytes"});
  }

  // ---- search ----

  void consider(ResolvedPolicy policy, GridShare share) {
    if (weights_open()) policy.weights = share.shares();
    const WeightSummary& weights = summary(share);
    const MemoryPlan plan = lay_out(input_, policy, weights);
    const Estimate estimate = estimator_.workload(policy, weights, plan);
    if (estimate.seconds >= best_seconds_ * kClearlyBetter) return;
    best_seconds_ = estimate.seconds;
    best_ = policy;
    best_share_ = share;
  }

  std::vector<int64_t> sweep_sizes(int sequences) const {
    const int64_t rows = sequences;
    const int64_t steady = rows * (lengths_.prompt + lengths_.fresh) / lengths_.fresh * 5 / 4;
    const int64_t most = std::min<int64_t>(rows * lengths_.prompt, kMostSweepTokens);
    std::vector<int64_t> sizes;
    for (int64_t tokens : {rows, steady, 4 * steady, most}) {
      sizes.push_back(std::max(rows, std::min(tokens, most)));
    }
    std::sort(sizes.begin(), sizes.end());
    sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
    return sizes;
  }

  std::vector<Shares> kv_choices() const {
    if (wanted_.kv_share) return {base_.kv};
    std::vector<Shares> choices = {base_.kv};
    if (input_.accelerator) choices.insert(choices.end(), {{0.5, 0.5, 0}, {0, 1, 0}});
    if (input_.disk_bytes > 0 && input_.accelerator) choices.push_back({0, 0, 1});
    if (input_.disk_bytes > 0 && !input_.accelerator) {
      choices.insert(choices.end(), {{0, 0.5, 0.5}, {0, 0, 1}});
    }
    return choices;
  }

  void search() {
    for (int sequences : sequence_counts()) {
      for (int rows : kBatchTokens) {
        for (int64_t tokens : sweep_sizes(sequences))
          try_shape(shape_.shape(sequences, rows, tokens));
      }
    }
  }

  void try_shape(ResolvedPolicy policy) {
    for (const Shares& kv : kv_choices()) {
      policy.kv = kv;
      // Comfortable, half a visit ahead, the fewest.
      const int visit = std::max(1, summary({}).visit_panels);
      for (int slots : {0, visit + visit / 2, 1}) {
        policy.ring_slots = wanted_.ring_slots.value_or(slots);
        GridShare share;
        if (place_most(policy, &share)) consider(policy, share);
      }
    }
  }

  // Fills what a step of the grid left free.
  void refine() {
    if (!weights_open() || best_share_.device + best_share_.host == kGrid) return;
    double low = best_.weights.host, high = low + 1.0 / kGrid;
    for (int i = 0; i < 10; ++i) {
      const double middle = (low + high) / 2;
      ResolvedPolicy policy = best_;
      policy.weights.host = middle;
      policy.weights.disk = 1 - middle - policy.weights.device;
      const bool ok = fits(lay_out(input_, policy, summarise(input_, place(input_, policy))));
      if (ok) best_ = policy;
      (ok ? low : high) = middle;
    }
  }

  // ---- words ----

  std::string explain(const Chosen& chosen) const {
    const WeightSummary weights = summarise(input_, chosen.memory.weights);
    const Estimate estimate = estimator_.workload(chosen.policy, weights, chosen.memory);
    int lane = 0;
    for (int i = 1; i < kLaneKinds; ++i) {
      if (estimate.cost.seconds[i] > estimate.cost.seconds[lane]) lane = i;
    }
    const double total = static_cast<double>(weights.traffic.matrix_bytes);
    const double read = static_cast<double>(weights.traffic.disk_bytes);
    char text[320];
    std::snprintf(
        text, sizeof text,
        "%s bound: with %d sequences in flight a sweep carries %lld tokens, reads %.2f of "
        "%.2f GiB of weights and computes for %.2f s (%s busy %.2f s); about %.1f new "
        "tokens/s",
        lane_name(static_cast<LaneKind>(lane)).c_str(), chosen.policy.max_sequences,
        static_cast<long long>(estimate.load.tokens), read / (1 << 30), total / (1 << 30),
        estimate.cost.seconds[static_cast<int>(LaneKind::compute)],
        lane_name(static_cast<LaneKind>(lane)).c_str(), estimate.cost.seconds[lane],
        estimate.tokens_per_second);
    return text;
  }

  const PlanInput& input_;
  const Policy& wanted_;
  PolicyShape shape_;
  const ResolvedPolicy& base_;
  RequestLengths lengths_;
  Estimator estimator_;
  ResolvedPolicy best_;
  GridShare best_share_;
  double best_seconds_ = std::numeric_limits<double>::infinity();
  std::map<GridShare, WeightSummary> summaries_;
};

}  // namespace

Chosen choose_policy(const PlanInput& input, const Policy& wanted) {
  return Chooser(input, wanted).choose();
}

}  // namespace penstock
