#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "plan/memory_plan.h"
#include "plan/request_lengths.h"
#include "plan/tiny_models.h"

namespace penstock {
namespace {

struct Budget {
  Tier tier;
  const char* field;

  uint64_t get(const PlanInput& input) const {
    if (tier == Tier::host) return input.host_bytes;
    if (tier == Tier::disk) return input.disk_bytes;
    return input.device_bytes.empty() ? 0 : input.device_bytes.front();
  }
  void set(PlanInput* input, uint64_t bytes) const {
    if (tier == Tier::host) input->host_bytes = bytes;
    if (tier == Tier::disk) input->disk_bytes = bytes;
    if (tier == Tier::device) input->device_bytes = {bytes};
  }
};
constexpr Budget kBudgets[] = {
    {Tier::host, "host_memory"}, {Tier::device, "device_memory"}, {Tier::disk, "disk_memory"}};

// The figure that a refusal names; 0 when the budgets are enough.
uint64_t refused_figure(const PlanInput& input, const Policy& wanted, const char* field) {
  try {
    choose_policy(input, wanted);
    return 0;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::budget) << error.what();
    EXPECT_EQ(error.detail().field, field) << error.what();
    EXPECT_EQ(error.detail().allowed.substr(0, 9), "at least ") << error.what();
    return std::strtoull(error.detail().allowed.c_str() + 9, nullptr, 10);
  }
}

void expect_within_budgets(const PlanInput& input, const Chosen& chosen) {
  for (const Budget& budget : kBudgets) {
    EXPECT_LE(chosen.memory.total[static_cast<int>(budget.tier)], budget.get(input));
  }
}

void expect_complete(const PlanInput& input, const Chosen& chosen) {
  const ResolvedPolicy& p = chosen.policy;
  EXPECT_GE(p.max_sequences, 1);
  EXPECT_GE(p.micro_batch, 1);
  EXPECT_GE(p.micro_batch_tokens, p.micro_batch);
  EXPECT_GE(p.micro_batch_tokens, p.prefill_chunk);
  EXPECT_GE(p.prefill_chunk, 1);
  EXPECT_GE(int64_t{p.micro_batch} * p.micro_batches, p.max_sequences) << "every row rides";
  EXPECT_EQ(256 % p.page_tokens, 0);
  EXPECT_GE(p.lookahead, 1);
  EXPECT_NEAR(p.weights.device + p.weights.host + p.weights.disk, 1, 1e-9);
  EXPECT_TRUE(input.workload.rows == 0 || p.max_sequences <= input.workload.rows);
  EXPECT_FALSE(chosen.why.empty());
  const MemoryPlan again = memory_plan(input, p);
  for (int tier = 0; tier < kTiers; ++tier) EXPECT_EQ(again.total[tier], chosen.memory.total[tier]);
}

std::unique_ptr<Tiny> random_input(Dice& dice) {
  auto model = random_model(dice);
  PlanInput& input = model->input;
  input.accelerator = dice.one_in(3);
  input.threads = dice.between(1, 4);
  input.kv = kv_format(dice.pick<std::string>({"fp16", "int8", "int4"}));
  input.workload = {dice.between(0, 300), dice.between(1, 200), 0, dice.between(1, 100), 0};
  if (dice.one_in(3)) input.workload.max_prompt = 400;
  input.reserved_host_bytes = dice.one_in(2) ? 0 : 123457;
  if (input.accelerator) input.device_bytes = {uint64_t{1} << 40};
  input.disk_bytes = dice.one_in(2) ? 0 : uint64_t{1} << 30;
  return model;
}

TEST(ChoosePolicy, StaysWithinRandomBudgets) {
  int refused = 0, chosen = 0;
  for (int seed = 0; seed < 120; ++seed) {
    Dice dice(seed);
    const auto model = random_input(dice);
    PlanInput& input = model->input;
    input.host_bytes = static_cast<uint64_t>(std::pow(2, 20 + 6 * dice.share()));
    if (input.accelerator)
      input.device_bytes = {static_cast<uint64_t>(std::pow(2, 18 + 8 * dice.share()))};
    try {
      const Chosen made = choose_policy(input, {});
      expect_within_budgets(input, made);
      expect_complete(input, made);
      ++chosen;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::budget) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(chosen, 30);
  EXPECT_GT(refused, 10);
}

// Exactly the figure that a refusal names is enough, one byte less is not.
void expect_exact(PlanInput& input, const Policy& wanted, const Budget& budget) {
  budget.set(&input, 1);
  const uint64_t figure = refused_figure(input, wanted, budget.field);
  ASSERT_GT(figure, 1u);
  budget.set(&input, figure);
  const Chosen chosen = choose_policy(input, wanted);
  expect_within_budgets(input, chosen);
  expect_complete(input, chosen);
  budget.set(&input, figure - 1);
  EXPECT_EQ(refused_figure(input, wanted, budget.field), figure);
}

TEST(ChoosePolicy, TheSmallestFigureWorksAndOneByteLessDoesNot) {
  for (int seed = 0; seed < 60; ++seed) {
    Dice dice(seed);
    const auto model = random_input(dice);
    expect_exact(model->input, {}, kBudgets[0]);
  }
}

TEST(ChoosePolicy, TheSmallestDeviceFigureIsExactToo) {
  for (int seed = 0; seed < 40; ++seed) {
    Dice dice(seed);
    const auto model = random_input(dice);
    model->input.accelerator = true;
    expect_exact(model->input, {}, kBudgets[1]);
  }
}

TEST(ChoosePolicy, WithWishesTheFigureIsExactToo) {
  for (int seed = 0; seed < 60; ++seed) {
    Dice dice(seed);
    const auto model = random_input(dice);
    model->input.accelerator = false;
    model->input.disk_bytes = uint64_t{1} << 40;
    Policy wanted;
    if (dice.one_in(2)) wanted.weight_share = Shares{0, 0.25, 0.75};
    if (dice.one_in(2)) wanted.micro_batch = dice.between(1, 20);
    if (dice.one_in(2)) wanted.micro_batches = dice.between(1, 5);
    if (dice.one_in(2)) wanted.prefill_chunk = dice.between(1, 100);
    wanted.kv_share = Shares{0, 0.5, 0.5};
    wanted.activation_share = Shares{0, 0.5, 0.5};
    expect_exact(model->input, wanted, kBudgets[0]);
    model->input.host_bytes = uint64_t{1} << 40;
    expect_exact(model->input, wanted, kBudgets[2]);
  }
}

TEST(ChoosePolicy, WishesAreHonoured) {
  for (int seed = 0; seed < 80; ++seed) {
    Dice dice(seed);
    const auto model = random_input(dice);
    PlanInput& input = model->input;
    input.accelerator = false;
    input.device_bytes = {};
    input.disk_bytes = uint64_t{1} << 40;
    Policy wanted;
    if (dice.one_in(2)) wanted.weight_share = Shares{0, 0.375, 0.625};
    if (dice.one_in(2)) wanted.kv_share = Shares{0, 0.25, 0.75};
    if (dice.one_in(2)) wanted.activation_share = Shares{0, 0.5, 0.5};
    if (dice.one_in(2)) wanted.micro_batch = dice.between(1, 20);
    if (dice.one_in(2)) wanted.micro_batches = dice.between(1, 5);
    if (dice.one_in(2)) wanted.prefill_chunk = dice.between(1, 700);
    if (dice.one_in(2)) wanted.pace = dice.between(1, 900);
    if (dice.one_in(2)) wanted.admission = Admission::block;
    if (dice.one_in(2)) wanted.lookahead = dice.between(1, 4);
    if (dice.one_in(2)) wanted.threads = dice.between(1, 4);
    const Chosen chosen = choose_policy(input, wanted);
    expect_complete(input, chosen);
    const ResolvedPolicy& p = chosen.policy;
    EXPECT_EQ(p.weights.host, wanted.weight_share ? 0.375 : p.weights.host);
    EXPECT_EQ(p.kv.disk, wanted.kv_share ? 0.75 : p.kv.disk);
    EXPECT_EQ(p.activations.disk, wanted.activation_share ? 0.5 : 0);
    EXPECT_EQ(p.micro_batch, wanted.micro_batch.value_or(p.micro_batch));
    EXPECT_EQ(p.micro_batches, wanted.micro_batches.value_or(p.micro_batches));
    EXPECT_EQ(p.prefill_chunk, wanted.prefill_chunk.value_or(p.prefill_chunk));
    EXPECT_EQ(p.pace, wanted.pace.value_or(p.pace));
    EXPECT_EQ(p.admission, wanted.admission.value_or(Admission::continuous));
    EXPECT_EQ(p.lookahead, 2 * wanted.lookahead.value_or(1));
    EXPECT_EQ(p.threads, wanted.threads.value_or(input.threads));
    if (wanted.micro_batch && wanted.micro_batches) {
      const int64_t block = int64_t{*wanted.micro_batch} * *wanted.micro_batches;
      const int64_t rows = input.workload.rows > 0 ? input.workload.rows : block;
      EXPECT_EQ(p.max_sequences, std::min(block, rows));
    }
  }
}

TEST(ChoosePolicy, EverythingResidentWhenItFits) {
  for (int seed = 0; seed < 30; ++seed) {
    Dice dice(seed);
    const auto model = random_input(dice);
    const Chosen chosen = choose_policy(model->input, {});
    EXPECT_EQ(chosen.memory.weights.streamed_bytes, 0u);
    EXPECT_EQ(chosen.memory.weights.uploaded_bytes, 0u);
    EXPECT_EQ(chosen.policy.kv.disk, 0);
  }
}

TEST(ChoosePolicy, FillsTheBudgetWithWeights) {
  Tiny model(llama_text(192, 4, 8, 2000, false));
  PlanInput& input = model.input;
  input.workload = {8, 20, 20, 20, 20};
  Chosen all = choose_policy(input, {});
  input.host_bytes = all.memory.total[static_cast<int>(Tier::host)] * 3 / 4;
  const Chosen chosen = choose_policy(input, {});
  expect_within_budgets(input, chosen);
  EXPECT_GT(chosen.memory.weights.streamed_bytes, 0u);
  const uint64_t left = input.host_bytes - chosen.memory.total[static_cast<int>(Tier::host)];
  EXPECT_LT(left, input.host_bytes / 50);
}

TEST(ChoosePolicy, MoreRowsInFlightWhenTheDiskIsSlow) {
  Tiny model(llama_text(256, 4, 8, 2000, false));
  PlanInput& input = model.input;
  input.workload = {200, 20, 20, 20, 20};
  input.host_bytes = uint64_t{12} << 20;
  input.kv = kv_format("int4");
  input.machine.gemm_flops_per_second = 1e8;
  input.machine.disk_read_bytes_per_second = 3e5;
  const Chosen slow = choose_policy(input, {});
  input.machine.disk_read_bytes_per_second = 1e12;
  const Chosen fast = choose_policy(input, {});
  EXPECT_GE(slow.policy.max_sequences, 2 * fast.policy.max_sequences);
  EXPECT_NE(slow.why.find("disk_read bound"), std::string::npos) << slow.why;
  EXPECT_NE(fast.why.find("compute bound"), std::string::npos) << fast.why;
}

TEST(ChoosePolicy, RefusesWhatTheDeviceCannotDo) {
  Tiny model(llama_text(64, 4, 2, 1000, true));
  PlanInput& input = model.input;
  const auto refused = [&](const Policy& wanted, const std::string& field) {
    try {
      choose_policy(input, wanted);
      ADD_FAILURE() << field;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
      EXPECT_EQ(error.detail().field, field);
    }
  };
  Policy device, rows, attention;
  device.kv_share = Shares{1, 0, 0};
  rows.activation_share = Shares{0.5, 0.5, 0};
  attention.host_attention = false;
  refused(device, "kv_share");
  refused(rows, "activation_share");
  refused(attention, "host_attention");
  Policy weights;
  weights.weight_share = Shares{0.5, 0.5, 0};
  refused(weights, "weight_share");
}

TEST(ChoosePolicy, PagesOnDiskNeedADisk) {
  Tiny model(llama_text(64, 4, 2, 1000, true));
  Policy wanted;
  wanted.kv_share = Shares{0, 0, 1};
  EXPECT_GT(refused_figure(model.input, wanted, "disk_memory"), 0u);
}

TEST(RequestLengths, StayWithinTheContext) {
  Tiny model(llama_text(64, 4, 2, 1000, true));
  PlanInput& input = model.input;
  input.workload = {0, 100, 0, 50, 0};
  RequestLengths lengths = request_lengths(input);
  EXPECT_EQ(lengths.mean, 150);
  EXPECT_EQ(lengths.longest, 300);
  EXPECT_EQ(lengths.flying, 125);
  input.max_context = 200;
  EXPECT_EQ(request_lengths(input).longest, 200);
  input.workload = {0, 1000, 2000, 1, 1};
  lengths = request_lengths(input);
  EXPECT_EQ(lengths.mean, 200);
  EXPECT_EQ(lengths.prompt, 200);
  EXPECT_EQ(lengths.longest, 200);
}

}  // namespace
}  // namespace penstock
