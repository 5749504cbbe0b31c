// Addresses of the operands of steps: what is in use at the same time never overlaps.
#include "engine/step_places.h"

#include <map>

#include "engine/executor_bench.h"

namespace penstock {
namespace {

class StepPlacesTest : public testing::ExecutorBench {};

TEST_F(StepPlacesTest, SlotsLieApart) {
  std::map<std::byte*, std::pair<size_t, std::pair<SlotKind, int>>> slots;  // bytes, which
  size_t found = 0;
  for (const Step& step : schedule_.steps) {
    for (const SlotUse& use : step.slots) {
      const bool hidden =
          use.kind == SlotKind::activation || use.kind == SlotKind::device_activation;
      if (hidden) continue;  // StepPlaces::hidden()
      std::byte* address = places_->slot(step, use.kind);
      ASSERT_NE(address, nullptr);
      ++found;
      if (use.kind == SlotKind::device_ring && step.kind == StepKind::compute) continue;  // several
      slots[address] = {staging_->slot_bytes(use.kind), {use.kind, use.index}};
    }
  }
  EXPECT_GT(found, 20u);
  EXPECT_GT(slots.size(), 8u);
  std::byte* end = nullptr;
  for (const auto& [address, slot] : slots) {
    EXPECT_GE(address, end);
    end = address + slot.first;
  }
  const Step& read = step(StepKind::panel_read);
  EXPECT_EQ(places_->slot(read, SlotKind::exchange), nullptr) << "it uses none";
}

TEST_F(StepPlacesTest, AStepKnowsItsVisitPanelAndLayer) {
  for (const Step& step : schedule_.steps) {
    const Visit& visit = places_->visit(step);
    EXPECT_EQ(places_->device_of(step), 0);
    EXPECT_EQ(places_->layer(step), executor_parts_.program->modules.at(visit.module).layer);
    if (step.kind != StepKind::panel_read) continue;
    EXPECT_EQ(places_->panel(step).home, Tier::disk);
    EXPECT_EQ(places_->panel(step).bytes, step.bytes);
  }
}

// Every micro-batch has its rows on the tier of its plan, where no other one has its own.
TEST_F(StepPlacesTest, HiddenRowsAreWhereTheirMicroBatchHasThem) {
  const int64_t hidden = executor_parts_.spec->hidden;
  const ActivationStore& store = *executor_parts_.activations;
  int here = 0, below = 0;
  for (const Step& one : schedule_.steps) {
    if (one.kind != StepKind::compute) continue;
    const BatchPlan& batch = plan_.batches.at(one.batch);
    const bool later_chunk = !places_->visit(one).first_chunk;
    if (batch.hidden == HiddenHome::here) {
      EXPECT_EQ(places_->hidden(call(one)), store.rows(0, 0, 0) + batch.first_token * hidden);
      ++here;
    } else if (!later_chunk) {
      float* slot = places_->hidden(call(one));
      bool known = false;
      for (int i = 0; i < executor_parts_.memory->activation_slots; ++i) {
        known |= slot == store.slot(0, i);
      }
      EXPECT_TRUE(known) << "a slot of the device";
      ++below;
    }
  }
  EXPECT_GT(here, 4);
  EXPECT_GT(below, 8);
  const StepCall on_host = call(step(StepKind::activation_upload, HiddenHome::host));
  EXPECT_EQ(places_->host_hidden(on_host), store.host_rows(0, 0));
  const StepCall on_disk = call(step(StepKind::activation_upload, HiddenHome::disk));
  EXPECT_NE(places_->host_hidden(on_disk), places_->host_hidden(on_host));
}

}  // namespace
}  // namespace penstock
