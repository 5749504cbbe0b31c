#include "plan/device_split.h"

#include <gtest/gtest.h>

#include <numeric>

#include "plan/memory_plan.h"
#include "plan/tiny_models.h"
#include "support/expect_error.h"

namespace penstock {
namespace {

TEST(DeviceSplit, RunsOfLayersByDevice) {
  const DeviceSplit split({2, 1, 3});
  EXPECT_EQ(split.devices(), 3);
  const int wanted[] = {0, 0, 1, 2, 2, 2};
  for (int layer = 0; layer < 6; ++layer) EXPECT_EQ(split.of_layer(layer), wanted[layer]);
  EXPECT_EQ(split.of_module({.kind = ModuleKind::embed, .layer = -1, .ops = {}, .matrices = {}}),
            0);
  EXPECT_EQ(split.of_module({.kind = ModuleKind::head, .layer = -1, .ops = {}, .matrices = {}}), 2);
  EXPECT_DOUBLE_EQ(split.largest_share(6), 0.5);
}

TEST(DeviceSplit, WithoutADivisionOneDeviceHasAll) {
  const DeviceSplit split;
  EXPECT_EQ(split.devices(), 1);
  EXPECT_EQ(split.of_layer(1000), 0);
  EXPECT_DOUBLE_EQ(split.largest_share(12), 1);
}

TEST(SplitByCapacity, LayersFollowTheMemory) {
  const SplitSizes sizes{.layers = 12, .layer_bytes = 100, .head_bytes = 0};
  const auto split = [&](std::vector<uint64_t> memory) { return split_by_capacity(sizes, memory); };
  EXPECT_EQ(split({1000, 1000}), (std::vector{6, 6}));
  EXPECT_EQ(split({1000, 3000}), (std::vector{3, 9}));
  EXPECT_EQ(split({3000, 2000, 1000}), (std::vector{6, 4, 2}));
  EXPECT_EQ(split({1, 1'000'000}), (std::vector{1, 11})) << "none has less than one";
}

TEST(SplitByCapacity, TheHeadWeighsOnTheLastDevice) {
  const SplitSizes sizes{.layers = 12, .layer_bytes = 100, .head_bytes = 200};
  const std::vector<uint64_t> memory = {1000, 1000};
  EXPECT_EQ(split_by_capacity(sizes, memory), (std::vector{7, 5}));
}

TEST(SplitByCapacity, MoreDevicesThanLayersAreRefused) {
  const std::vector<uint64_t> memory(3, 1000);
  expect_error(ErrorCode::invalid_argument, "at most 2",
               [&] { split_by_capacity({.layers = 2}, memory); });
}

// Plans over several devices: layers by capacity, every device within its own budget, nothing lost.
TEST(SplitByCapacity, APlanDividesTheLayersAndKeepsEveryBudget) {
  int uneven = 0;
  for (int seed = 0; seed < 40; ++seed) {
    Dice dice(seed);
    Tiny model(llama_text(64, 4, 8, 500, dice.one_in(2)));
    PlanInput& input = model.input;
    input.accelerator = true;
    input.host_bytes = uint64_t{1} << 30;
    input.workload = {20, 30, 30, 10, 10};
    const int devices = dice.between(2, 4);
    for (int d = 0; d < devices; ++d) {
      input.device_bytes.push_back(uint64_t{1} << dice.between(20, 23));
    }
    const Chosen chosen = choose_policy(input, {});
    const std::vector<int>& layers = chosen.policy.device_layers;
    ASSERT_EQ(layers.size(), input.device_bytes.size());
    EXPECT_EQ(std::accumulate(layers.begin(), layers.end(), 0), 8);
    uint64_t sum = 0;
    for (int d = 0; d < devices; ++d) {
      EXPECT_LE(chosen.memory.device_total[d], input.device_bytes[d]) << seed;
      sum += chosen.memory.device_total[d];
      if (d + 1 < devices && input.device_bytes[d] > input.device_bytes[d + 1]) {
        EXPECT_GE(layers[d], layers[d + 1]) << seed;
        ++uneven;
      }
    }
    EXPECT_EQ(sum, chosen.memory.total[static_cast<int>(Tier::device)]);
  }
  EXPECT_GT(uneven, 10);
}

}  // namespace
}  // namespace penstock
