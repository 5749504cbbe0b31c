// What crosses between host memory and an accelerator arrives where the kernels look for it, and
// slots that were given back hold nothing.
#include "engine/copy_steps.h"

#include <algorithm>

#include "engine/disk_steps.h"
#include "engine/executor_bench.h"

namespace penstock {
namespace {

class CopyStepsTest : public testing::ExecutorBench {
 protected:
  static bool poisoned(const std::vector<std::byte>& bytes) {
    return std::all_of(bytes.begin(), bytes.end(),
                       [](std::byte byte) { return byte == std::byte{0xff}; });
  }

  DiskSteps disk_{executor_parts_, *staging_, *places_};
  CopySteps copies_{executor_parts_, *staging_, *places_};
};

TEST_F(CopyStepsTest, APanelArrivesAndIsDeadOnceItsSlotIsGivenBack) {
  const Step& read = step(StepKind::panel_read);
  wait(disk_.read_panel(call(read)));
  const auto uploads = [&](const Step& one) {
    return one.kind == StepKind::panel_upload && one.visit == read.visit && one.panel == read.panel;
  };
  const auto upload = std::find_if(schedule_.steps.begin(), schedule_.steps.end(), uploads);
  ASSERT_NE(upload, schedule_.steps.end());
  wait(copies_.upload_panel(call(*upload)));
  const Panel& panel = places_->panel(read);
  const WeightPanel host =
      executor_parts_.store->staged(panel, places_->slot(read, SlotKind::host_ring));
  std::byte* slot = places_->slot(*upload, SlotKind::device_ring);
  const WeightPanel device = executor_parts_.store->uploaded(panel, slot);
  const std::vector<std::byte> found = on_device(device.data, panel.upload_bytes);
  EXPECT_EQ(std::memcmp(found.data(), host.data, panel.upload_bytes), 0);

  Step last;  // a compute step that gives the slot back
  last.id = schedule_.steps.back().id + 1;
  last.visit = upload->visit;
  last.slots = upload->slots;
  const Ticket own{{LaneKind::compute, 0}, 0};
  EXPECT_EQ(copies_.poison_released(last, own).number, 0u) << "it keeps its slots";
  EXPECT_FALSE(poisoned(on_device(slot, panel.upload_bytes)));
  for (SlotUse& use : last.slots) use.release = true;
  wait(copies_.poison_released(last, own));
  EXPECT_TRUE(poisoned(on_device(slot, staging_->slot_bytes(SlotKind::device_ring))));
}

TEST_F(CopyStepsTest, EmbeddingRowsArrive) {
  const Step& gather = step(StepKind::embed_gather);
  wait(disk_.gather(call(gather)));
  const Step& upload = step(StepKind::embed_upload);
  ASSERT_EQ(upload.batch, gather.batch);
  wait(copies_.upload_gathered(call(upload)));
  const size_t bytes = 40 * static_cast<size_t>(executor_parts_.spec->embed_dim) * sizeof(float);
  const auto found = on_device(places_->slot(upload, SlotKind::device_gather), bytes);
  EXPECT_EQ(std::memcmp(found.data(), places_->slot(gather, SlotKind::gather), bytes), 0);
}

TEST_F(CopyStepsTest, HiddenRowsGoUpAndComeBack) {
  for (const HiddenHome home : {HiddenHome::host, HiddenHome::disk}) {
    const Step& up = step(StepKind::activation_upload, home);
    float* rows = places_->host_hidden(call(up));
    const size_t count = up.bytes / sizeof(float);
    ASSERT_EQ(count, 40 * static_cast<size_t>(executor_parts_.spec->hidden));
    for (size_t i = 0; i < count; ++i) rows[i] = static_cast<float>(3 * i);
    const std::vector<float> sent(rows, rows + count);
    wait(copies_.upload_hidden(call(up)));
    const auto found = on_device(places_->hidden(call(up)), up.bytes);
    EXPECT_EQ(std::memcmp(found.data(), sent.data(), up.bytes), 0);
    std::fill_n(rows, count, 0.0f);
    Step down = up;  // the same rows, the other way
    wait(copies_.download_hidden(call(down)));
    EXPECT_EQ(std::vector<float>(rows, rows + count), sent);
  }
}

}  // namespace
}  // namespace penstock
