#include "plan/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "plan/layout.h"
#include "plan/request_lengths.h"
#include "plan/tiny_models.h"
#include "tensor/units.h"

namespace penstock {
namespace {

ResolvedPolicy random_policy(Dice& dice, bool accelerator) {
  ResolvedPolicy policy;
  policy.micro_batch = dice.between(1, 12);
  policy.micro_batch_tokens = policy.micro_batch + dice.between(0, 64);
  policy.micro_batches = dice.between(1, 6);
  policy.prefill_chunk = dice.between(1, policy.micro_batch_tokens);
  policy.max_sequences = dice.between(1, policy.micro_batch * policy.micro_batches);
  policy.admission = dice.one_in(2) ? Admission::block : Admission::continuous;
  policy.page_tokens = dice.pick<int>({16, 32, 64});
  policy.threads = dice.between(1, 4);
  policy.weights.host = dice.one_in(3) ? 1 : dice.share();
  policy.weights.disk = 1 - policy.weights.host;
  const auto anywhere = [&] {
    Shares shares{dice.one_in(3) ? 0 : dice.share(), 0, 0};
    shares.host = (1 - shares.device) * (dice.one_in(3) ? 1 : dice.share());
    shares.disk = 1 - shares.device - shares.host;
    return shares;
  };
  policy.kv_split = dice.one_in(3);
  if (accelerator) {
    policy.kv = anywhere();
    policy.activations = anywhere();
    policy.host_attention = dice.one_in(2);
    policy.weights = {dice.share() * 0.5, 0.25, 0};
    policy.weights.disk = 1 - policy.weights.host - policy.weights.device;
    return policy;
  }
  policy.kv = {0, dice.one_in(2) ? 1 : dice.share(), 0};
  policy.kv.disk = 1 - policy.kv.host;
  policy.activations = {0, dice.one_in(2) ? 1 : dice.share(), 0};
  policy.activations.disk = 1 - policy.activations.host;
  return policy;
}

struct Planned {
  std::unique_ptr<Tiny> model;
  ResolvedPolicy policy;
  MemoryPlan plan;

  uint64_t item(Tier tier, const std::string& label) const {
    for (const MemoryItem& item : plan.items) {
      if (item.tier == tier && item.label == label) return item.bytes;
    }
    return 0;
  }
};

Planned random_planned(int seed) {
  Dice dice(seed);
  Planned made{random_model(dice), {}, {}};
  PlanInput& input = made.model->input;
  input.accelerator = dice.one_in(3);
  input.compute = dice.one_in(3)   ? Compute::exact
                  : dice.one_in(3) ? Compute::weight_only
                                   : Compute::fast;
  input.kv = kv_format(dice.pick<std::string>({"fp16", "fp32", "int8", "int4"}));
  input.workload = {dice.between(0, 100), dice.between(1, 90), 0, dice.between(1, 60), 0};
  input.reserved_host_bytes = dice.between(0, 100000);
  made.policy = random_policy(dice, input.accelerator);
  made.plan = memory_plan(input, made.policy);
  return made;
}

TEST(MemoryPlan, TotalsAreTheSumsOfPageSizedItems) {
  for (int seed = 0; seed < 150; ++seed) {
    const Planned planned = random_planned(seed);
    uint64_t total[kTiers] = {};
    std::map<std::pair<Tier, std::string>, int> seen;
    for (const MemoryItem& item : planned.plan.items) {
      EXPECT_EQ(item.bytes % 4096, 0u) << item.label;
      EXPECT_GT(item.bytes, 0u);
      EXPECT_EQ(++seen[(std::pair{item.tier, item.label})], 1);
      total[static_cast<int>(item.tier)] += item.bytes;
    }
    for (int tier = 0; tier < kTiers; ++tier) EXPECT_EQ(planned.plan.total[tier], total[tier]);
    const bool accelerator = planned.model->input.accelerator;
    EXPECT_EQ(total[static_cast<int>(Tier::device)] > 0, accelerator);
  }
}

TEST(MemoryPlan, SharesOfKvAndActivationsAreHonouredExactly) {
  for (int seed = 0; seed < 150; ++seed) {
    const Planned planned = random_planned(seed);
    const MemoryPlan& plan = planned.plan;
    const ResolvedPolicy& policy = planned.policy;
    const int64_t batches = std::llround(policy.activations.disk * policy.micro_batches);
    EXPECT_EQ(plan.hidden_disk_tokens, batches * policy.micro_batch_tokens);
    const bool accelerator = planned.model->input.accelerator;
    const int64_t host =
        accelerator ? std::llround(policy.activations.host * policy.micro_batches) : 0;
    EXPECT_EQ(plan.hidden_host_tokens,
              std::min(policy.micro_batches - batches, host) * policy.micro_batch_tokens);
    EXPECT_EQ(plan.hidden_disk_tokens + plan.hidden_host_tokens + plan.hidden_tokens,
              plan.sweep_tokens);
    EXPECT_EQ(plan.sweep_tokens, policy.micro_batches * policy.micro_batch_tokens);
    EXPECT_EQ(plan.activation_slots > 0, plan.hidden_tokens < plan.sweep_tokens);
    EXPECT_EQ(plan.activation_host_slots > 0, accelerator && batches > 0);
    EXPECT_EQ(planned.item(Tier::disk, "activations") > 0, batches > 0);
    const int64_t sequences = plan.kv_disk_sequences;
    if (!policy.kv_split) {
      EXPECT_EQ(sequences, std::llround(policy.kv.disk * policy.max_sequences));
    }
    EXPECT_LE(sequences + plan.kv_host_sequences, policy.max_sequences);
    EXPECT_EQ(plan.kv_disk_bytes > 0, sequences > 0);
    EXPECT_EQ(plan.kv_staging_slots > 0, sequences > 0);
    EXPECT_EQ(planned.item(Tier::disk, "kv"), plan.kv_disk_bytes);
  }
}

TEST(MemoryPlan, PagesHoldTheRowsThatFly) {
  for (int seed = 0; seed < 150; ++seed) {
    const Planned planned = random_planned(seed);
    const MemoryPlan& plan = planned.plan;
    const ResolvedPolicy& policy = planned.policy;
    const RequestLengths lengths = request_lengths(planned.model->input);
    const auto layers = static_cast<int64_t>(planned.model->config.spec.layers.size());
    const auto pages = [&](int64_t tokens) {
      return (tokens + policy.page_tokens - 1) / policy.page_tokens;
    };
    if (policy.kv_split) continue;
    const bool accelerator = planned.model->input.accelerator;
    const int64_t tails = plan.kv_disk_sequences;  // a page each, in host memory
    const int64_t here = policy.max_sequences - plan.kv_disk_sequences - plan.kv_host_sequences;
    const int64_t blocks = plan.kv_blocks / layers - (accelerator ? 0 : tails);
    EXPECT_EQ(plan.kv_blocks % layers, 0);
    EXPECT_EQ(plan.kv_host_blocks > 0, accelerator && tails + plan.kv_host_sequences > 0);
    EXPECT_GE(plan.kv_host_blocks, accelerator ? layers * tails : 0);
    if (here == 0) {
      EXPECT_EQ(blocks, 0);
      continue;
    }
    EXPECT_GE(blocks, pages(lengths.longest)) << "one row of the longest kind";
    EXPECT_LE(blocks, here * pages(lengths.longest));
    const int64_t rows = planned.model->input.workload.rows;
    if (policy.admission == Admission::block) {
      EXPECT_EQ(blocks, here * pages(lengths.longest));
    } else if (rows > 0 && rows <= policy.max_sequences) {
      EXPECT_GE(blocks, here * pages(lengths.mean)) << "all rows at their ends together";
    }
  }
}

TEST(MemoryPlan, ItemsAreLargeEnoughForWhatTheyHold) {
  for (int seed = 0; seed < 150; ++seed) {
    const Planned planned = random_planned(seed);
    const PlanInput& input = planned.model->input;
    const ModelSpec& spec = *input.spec;
    const MemoryPlan& plan = planned.plan;
    const Tier compute = input.accelerator ? Tier::device : Tier::host;
    const auto at_least = [&](Tier tier, const char* label, int64_t bytes) {
      EXPECT_GE(planned.item(tier, label), static_cast<uint64_t>(bytes)) << label;
      EXPECT_LE(planned.item(tier, label), static_cast<uint64_t>(bytes) + 16384) << label;
    };
    const int64_t rows = planned.policy.micro_batch_tokens;
    at_least(compute, "hidden", plan.hidden_tokens * spec.hidden * 4);
    if (input.accelerator) {
      at_least(Tier::host, "hidden", plan.hidden_host_tokens * spec.hidden * 4);
      at_least(Tier::host, "kv", plan.kv_host_blocks * plan.kv.page_bytes());
      at_least(Tier::device, "exchange", plan.exchange_slots * plan.exchange.bytes());
    }
    at_least(compute, "kv", plan.kv_blocks * plan.kv.page_bytes());
    at_least(Tier::host, "ring", plan.ring_slots * static_cast<int64_t>(plan.ring_slot_bytes));
    at_least(Tier::device, "ring",
             plan.device_ring_slots * static_cast<int64_t>(plan.ring_slot_bytes));
    const int64_t positions = spec.positions == PositionType::learned ? spec.hidden : 0;
    at_least(Tier::host, "gather",
             2 * rows * (spec.embed_dim + positions) * dtype_bytes(spec.dtype));
    const int64_t projected = spec.embed_dim != spec.hidden ? spec.embed_dim : 0;
    at_least(compute, "head",
             plan.head_rows * (spec.hidden + projected) * 4 + rows * plan.head_columns * 4 +
                 plan.head_rows * kScoreStateBytes);
    EXPECT_GE(planned.item(Tier::host, "logits"),
              static_cast<uint64_t>(plan.logit_rows * spec.vocab * 4));
    EXPECT_GE(plan.logit_rows, planned.policy.max_sequences);
    for (Tier tier : {Tier::device, Tier::host}) {
      const uint64_t resident = plan.weights.resident_bytes[static_cast<int>(tier)];
      EXPECT_GE(planned.item(tier, "weights"), resident);
      EXPECT_LE(planned.item(tier, "weights"), resident + 64 * 100 + 4096);
    }
    at_least(Tier::host, "reserved", static_cast<int64_t>(input.reserved_host_bytes));
  }
}

TEST(MemoryPlan, RingHoldsAVisitAndTheLargestPanel) {
  for (int seed = 0; seed < 150; ++seed) {
    const Planned planned = random_planned(seed);
    const MemoryPlan& plan = planned.plan;
    const bool accelerator = planned.model->input.accelerator;
    const int slots = accelerator ? plan.device_ring_slots : plan.ring_slots;
    const Tier compute = accelerator ? Tier::device : Tier::host;
    for (const Visit& visit : plan.weights.visits) {
      const auto streamed =
          std::count_if(visit.panels.begin(), visit.panels.end(),
                        [compute](const Panel& panel) { return is_streamed(panel, compute); });
      EXPECT_GE(slots, streamed);
    }
    if (slots == 0) continue;
    EXPECT_GE(plan.ring_slot_bytes, plan.weights.max_panel_bytes + 8192);
    EXPECT_EQ(plan.ring_slot_bytes % 4096, 0u);
    EXPECT_TRUE(!accelerator || plan.weights.streamed_bytes == 0 || plan.ring_slots > 0);
  }
}

// Whole lines of 64 bytes, an odd number of them so that rows do not meet in the same cache sets.
TEST(MemoryPlan, PreparedRowsAreWhatKernelsWant) {
  const auto bytes = [](const char* name, int64_t k, Compute compute) {
    return prepared_row_bytes(format(weight_format(name)), k, compute);
  };
  EXPECT_EQ(bytes("fp32", 100, Compute::fast), 128 * 4 + 64);
  EXPECT_EQ(bytes("fp16", 128, Compute::fast), 128 * 4 + 64);
  EXPECT_EQ(bytes("bf16", 129, Compute::fast), 256 * 2 + 64);
  EXPECT_EQ(bytes("bf16", 129, Compute::exact), 256 * 4 + 64);
  EXPECT_EQ(bytes("int8", 300, Compute::fast), 448);      // 384 codes, 3 scales and sums
  EXPECT_EQ(bytes("int4-g32", 300, Compute::fast), 576);  // 384 codes, 10 of them
  EXPECT_EQ(bytes("int4-g32", 300, Compute::exact), 384 * 4 + 64);
  EXPECT_EQ(bytes("int4-g32", 300, Compute::weight_only), 384 * 2 + 64);
}

}  // namespace
}  // namespace penstock
