#include "plan/cost.h"

#include <gtest/gtest.h>

#include "plan/tiny_models.h"
#include "schedule/build.h"
#include "schedule/check.h"
#include "schedule/slots.h"

namespace penstock {
namespace {

void random_below(Dice& dice, bool apart, BatchShape* batch) {
  batch->activations_on_host = dice.one_in(3);
  batch->activations_on_disk = !batch->activations_on_host && dice.one_in(3);
  batch->activation_bytes = batch->activations_on_disk ? dice.between(1, 9999) : 0;
  const bool below = batch->activations_on_host || batch->activations_on_disk;
  batch->activation_move_bytes = below ? dice.between(1, 9999) : 0;
  batch->kv_on_disk = dice.one_in(2);
  batch->kv_staged = true;
  batch->kv_upload_bytes = dice.between(1, 9999);
  batch->exchange_down_bytes = dice.between(1, 9999);
  batch->exchange_up_bytes = apart ? dice.between(1, 9999) : 0;
  batch->host_attention_bytes = apart ? dice.between(1, 9999) : 0;
  batch->kv_read_bytes = batch->kv_on_disk ? dice.between(1, 9999) : 0;
  batch->kv_write_bytes = batch->kv_on_disk ? dice.between(0, 9999) : 0;
}

BatchShape random_batch(Dice& dice, bool accelerator, bool apart) {
  BatchShape batch;
  batch.tokens = dice.between(1, 30);
  batch.head_rows = dice.one_in(3) ? 0 : batch.tokens;
  batch.gather_disk_bytes = dice.between(0, 9999);
  if (accelerator) {
    batch.gather_upload_bytes = dice.between(1, 9999);
    batch.logits_bytes = batch.head_rows * 128;
    random_below(dice, apart, &batch);
    return batch;
  }
  batch.kv_on_disk = dice.one_in(2);
  batch.kv_read_bytes = batch.kv_on_disk ? dice.between(0, 9999) : 0;
  batch.kv_write_bytes = batch.kv_on_disk ? dice.between(0, 9999) : 0;
  batch.activations_on_disk = dice.one_in(2);
  batch.activation_bytes = batch.activations_on_disk ? dice.between(1, 9999) : 0;
  return batch;
}

SweepLoad load_of(const std::vector<BatchShape>& batches) {
  SweepLoad load;
  load.batches = static_cast<int64_t>(batches.size());
  for (const BatchShape& batch : batches) {
    load.tokens += batch.tokens;
    load.head_rows += batch.head_rows;
    load.gather_disk_bytes += batch.gather_disk_bytes;
    load.gather_upload_bytes += batch.gather_upload_bytes;
    load.kv_read_bytes += batch.kv_read_bytes;
    load.kv_write_bytes += batch.kv_write_bytes;
    load.activation_bytes += batch.activation_bytes;
    if (batch.head_rows > 0) load.activation_head_bytes += batch.activation_bytes;
    load.logits_bytes += batch.logits_bytes;
    load.kv_upload_bytes += batch.kv_upload_bytes;
    load.exchange_down_bytes += batch.exchange_down_bytes;
    load.exchange_up_bytes += batch.exchange_up_bytes;
    load.host_attention_bytes += batch.host_attention_bytes;
    load.activation_move_bytes += batch.activation_move_bytes;
    if (batch.head_rows > 0) load.activation_move_head_bytes += batch.activation_move_bytes;
  }
  return load;
}

// Bytes predicted in closed form are those of the built schedule, lane by lane, as integers.
TEST(Cost, BytesAreThoseOfTheSchedule) {
  for (int seed = 0; seed < 150; ++seed) {
    Dice dice(seed);
    const auto model = random_model(dice);
    PlanInput& input = model->input;
    input.accelerator = dice.one_in(3);
    ResolvedPolicy policy;
    policy.weights = {0, 0.3, 0.7};
    if (input.accelerator) policy.weights = {0.2, 0.3, 0.5};
    policy.host_attention = input.accelerator && dice.one_in(2);
    policy.micro_batch = 4;
    policy.micro_batch_tokens = 32;
    policy.micro_batches = 4;
    policy.max_sequences = 8;
    policy.prefill_chunk = 16;
    policy.panel_bytes = dice.pick<uint64_t>({3000, 20000, 1 << 21});
    const MemoryPlan plan = memory_plan(input, policy);
    const WeightSummary weights = summarise(input, plan.weights);
    const CostModel model_of_cost(input);

    BuildOptions options;
    options.accelerator = input.accelerator;
    options.host_ring_slots = plan.ring_slots;
    options.device_ring_slots = plan.device_ring_slots;
    options.kv_slots = options.activation_slots = 3;
    options.device_kv_slots = options.device_activation_slots = 3;
    options.gather_slots = 2;
    options.exchange_slots = 4;
    options.lookahead = policy.lookahead;
    Carry carry;
    std::vector<Built> built;
    uint64_t predicted[kLaneKinds] = {};
    for (int s = 0; s < 3; ++s) {
      std::vector<BatchShape> batches(dice.between(1, 4));
      for (BatchShape& batch : batches)
        batch = random_batch(dice, input.accelerator, policy.host_attention);
      options.last_sweep = s == 2;
      built.push_back(
          build_sweep(plan.weights.visits, program_of(input, policy), batches, options, carry));
      carry = built.back().carry;
      SweepLoad load = load_of(batches);
      load.apart = policy.host_attention;
      const SweepCost cost = model_of_cost.sweep(weights.traffic, load);
      for (int lane = 0; lane < kLaneKinds; ++lane) predicted[lane] += cost.bytes[lane];
    }
    std::vector<const Schedule*> sweeps;
    for (const Built& each : built) sweeps.push_back(&each.schedule);
    EXPECT_TRUE(
        check_schedules(sweeps, plan.weights.visits, program_of(input, policy), options).empty());
    SlotPeaks peaks = slot_peaks(sweeps);
    for (int lane = 0; lane < kLaneKinds; ++lane) {
      const LaneId moved{static_cast<LaneKind>(lane), 0};
      EXPECT_EQ(predicted[lane], peaks.lane_bytes[moved]) << "seed " << seed << " lane " << lane;
    }
  }
}

TEST(Cost, StreamedBytesOfThePlanAreReadInEverySweep) {
  for (int seed = 0; seed < 60; ++seed) {
    Dice dice(seed);
    const auto model = random_model(dice);
    ResolvedPolicy policy;
    policy.weights = {0, 0.25, 0.75};
    policy.micro_batch = policy.micro_batch_tokens = policy.micro_batches = 2;
    policy.max_sequences = 2;
    const MemoryPlan plan = memory_plan(model->input, policy);
    BuildOptions options;
    options.gather_slots = 2;
    options.host_ring_slots = plan.ring_slots;
    options.last_sweep = true;
    const std::vector<BatchShape> batches(2, BatchShape{.tokens = 2, .head_rows = 1});
    const Built built = build_sweep(plan.weights.visits, model->program, batches, options, {});
    uint64_t read = 0;
    for (const Step& step : built.schedule.steps) {
      if (step.kind == StepKind::panel_read) read += step.bytes;
    }
    EXPECT_EQ(read, plan.weights.streamed_bytes);
  }
}

TEST(Cost, SecondsGrowWithTheWork) {
  Tiny model(llama_text(64, 4, 3, 1000, false));
  const CostModel cost(model.input);
  WeightTraffic traffic;
  traffic.visits = 8;
  traffic.matrix_bytes = 1000;
  const auto seconds = [&](const SweepLoad& load) {
    return cost.sweep(traffic, load).seconds[static_cast<int>(LaneKind::compute)];
  };
  const SweepLoad base{.batches = 1, .tokens = 10, .head_rows = 2, .decode_keys = 100};
  SweepLoad more = base;
  more.tokens = 20;
  EXPECT_GT(seconds(more), seconds(base));
  more = base, more.head_rows = 3;
  EXPECT_GT(seconds(more), seconds(base));
  more = base, more.decode_keys = 200;
  EXPECT_GT(seconds(more), seconds(base));
  more = base, more.batches = 2;
  EXPECT_GT(seconds(more), seconds(base));
}

}  // namespace
}  // namespace penstock
