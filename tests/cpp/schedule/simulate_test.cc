#include "schedule/simulate.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "schedule/cases.h"
#include "schedule/slots.h"

namespace penstock {
namespace {

Step make(uint64_t id, LaneKind lane, decltype(Step::after) after) {
  Step step;
  step.id = id;
  step.lane = {lane, 0};
  step.after = after;
  return step;
}

TEST(Simulate, LanesAreInOrderAndWaitForWhatTheyName) {
  Schedule first{1,
                 {make(1, LaneKind::disk_read, {}), make(2, LaneKind::compute, {1}),
                  make(3, LaneKind::disk_read, {})}};
  Schedule second{4, {make(4, LaneKind::disk_read, {2}), make(5, LaneKind::compute, {3})}};
  const auto seconds = [](const Step& step) {
    return step.lane.kind == LaneKind::compute ? 5.0 : 2.0;
  };
  const Timeline line = simulate({&first, &second}, seconds);
  const double begins[] = {0, 2, 2, 7, 7}, ends[] = {2, 7, 4, 9, 12};
  ASSERT_EQ(line.entries.size(), 5u);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(line.entries[i].step, static_cast<uint64_t>(i + 1));
    EXPECT_DOUBLE_EQ(line.entries[i].begin, begins[i]);
    EXPECT_DOUBLE_EQ(line.entries[i].end, ends[i]);
  }
  EXPECT_DOUBLE_EQ(line.seconds, 12);
  EXPECT_DOUBLE_EQ(line.busy.at({LaneKind::compute, 0}), 10);
  EXPECT_DOUBLE_EQ(line.busy.at({LaneKind::disk_read, 0}), 6);
  EXPECT_DOUBLE_EQ(simulate({&second}, seconds).entries[0].begin, 0);  // what came before is over
}

TEST(Simulate, ALaneThatWaitedForAnotherWakesLate) {
  const Schedule sweep{1,
                       {make(1, LaneKind::disk_read, {}), make(2, LaneKind::compute, {1}),
                        make(3, LaneKind::compute, {1}), make(4, LaneKind::disk_read, {2})}};
  const auto seconds = [](const Step&) { return 2.0; };
  Simulator simulator(0.5);
  const Timeline line = simulator.run(sweep, seconds, 0);
  const double begins[] = {0, 2.5, 4.5, 5};
  for (int i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(line.entries[i].begin, begins[i]);
}

TEST(SlotPeaks, CountsWhatIsLiveAndMoved) {
  Step fill = make(1, LaneKind::disk_read, {}), more = make(2, LaneKind::disk_read, {});
  Step use = make(3, LaneKind::compute, {1}), last = make(4, LaneKind::disk_read, {3});
  fill.bytes = 10, more.bytes = 20, last.bytes = 30;
  fill.slots = {{SlotKind::host_ring, 0, true, false}};
  more.slots = {{SlotKind::host_ring, 1, true, false}};
  use.slots = {{SlotKind::host_ring, 0, false, true}, {SlotKind::kv, 2, true, true}};
  last.slots = {{SlotKind::host_ring, 0, true, false}};
  const Schedule sweep{1, {fill, more, use, last}};
  const SlotPeaks peaks = slot_peaks({&sweep});
  EXPECT_EQ(peaks.peak[static_cast<int>(SlotKind::host_ring)], 2);
  EXPECT_EQ(peaks.peak[static_cast<int>(SlotKind::kv)], 1);
  EXPECT_EQ(peaks.peak[static_cast<int>(SlotKind::gather)], 0);
  EXPECT_EQ(peaks.lane_bytes.at({LaneKind::disk_read, 0}), 60u);
  EXPECT_EQ(peaks.lane_bytes.at({LaneKind::compute, 0}), 0u);
}

TEST(SlotPeaks, NeverAboveTheSlotsThereAre) {
  for (int seed = 0; seed < 200; ++seed) {
    const Case made = random_case(seed);
    const std::vector<Schedule> sweeps = build_all(made);
    const SlotPeaks peaks = slot_peaks(pointers(sweeps));
    const auto peak = [&](SlotKind kind) { return peaks.peak[static_cast<int>(kind)]; };
    EXPECT_LE(peak(SlotKind::host_ring), made.options.host_ring_slots);
    EXPECT_LE(peak(SlotKind::device_ring), made.options.device_ring_slots);
    EXPECT_LE(peak(SlotKind::gather), made.options.gather_slots);
    EXPECT_LE(peak(SlotKind::kv), made.options.kv_slots);
    EXPECT_LE(peak(SlotKind::activation), made.options.activation_slots);
    const SlotKind ring = made.options.accelerator ? SlotKind::device_ring : SlotKind::host_ring;
    int needed = 0;
    for (const Visit& visit : made.visits) {
      if (!made.head(visit)) needed = std::max(needed, made.streamed(visit));
    }
    EXPECT_GE(peak(ring), needed);
  }
}

// Layers of one part attention and two parts MLP, as in real models.
Case deep(int layers, int batches) {
  Case made;
  const auto add = [&](ModuleKind kind, int panels) {
    made.program.modules.push_back({.kind = kind, .layer = 0, .ops = {}, .matrices = {}});
    Visit visit;
    visit.module = static_cast<int>(made.program.modules.size()) - 1;
    visit.panels.assign(panels, {0, 0, 16, Tier::disk, 1000, 1000});
    made.visits.push_back(visit);
  };
  add(ModuleKind::embed, 0);
  for (int i = 0; i < layers; ++i) {
    add(ModuleKind::attention, 16);
    add(ModuleKind::mlp, 32);
  }
  add(ModuleKind::head, 12);
  made.options.gather_slots = 2;
  made.options.host_ring_slots = 2 * 32 + 4;
  made.options.lookahead = 2;
  made.sweeps.assign(3, std::vector<BatchShape>(batches, BatchShape{.tokens = 4, .head_rows = 4}));
  return made;
}

class Overlap : public testing::TestWithParam<std::tuple<double, int, bool>> {};

// Disk and compute hide each other whichever is slower: the whole takes hardly longer than the
// busier of them.
TEST_P(Overlap, WholeIsNearTheBusiestLane) {
  const auto [ratio, batches, kv] = GetParam();
  Case made = deep(24, batches);
  if (kv) {
    made.options.kv_slots = 3;
    for (auto& sweep : made.sweeps) {
      for (BatchShape& batch : sweep) {
        batch.kv_on_disk = true;
        batch.kv_read_bytes = 16000 / batches;
        batch.kv_write_bytes = 500 / batches;
      }
    }
  }
  const std::vector<Schedule> sweeps = build_all(made);
  const auto seconds = [&, ratio = ratio, batches = batches](const Step& step) {
    if (step.kind != StepKind::compute) return static_cast<double>(step.bytes);
    double bytes = 0;
    for (const Panel& panel : made.visits[step.visit].panels)
      bytes += static_cast<double>(panel.bytes);
    const bool attention =
        made.program.modules[made.visits[step.visit].module].kind == ModuleKind::attention;
    if (attention) bytes += static_cast<double>(made.sweeps[0][step.batch].kv_read_bytes) * batches;
    return ratio * bytes / batches;
  };
  const Timeline line = simulate(pointers(sweeps), seconds);
  double busiest = 0;
  for (const auto& [lane, busy] : line.busy) busiest = std::max(busiest, busy);
  EXPECT_LE(line.seconds, 1.08 * busiest);
}

INSTANTIATE_TEST_SUITE_P(Ratios, Overlap,
                         testing::Combine(testing::Values(0.3, 0.8, 1.0, 1.25, 3.0),
                                          testing::Values(1, 2, 8), testing::Bool()));

}  // namespace
}  // namespace penstock
