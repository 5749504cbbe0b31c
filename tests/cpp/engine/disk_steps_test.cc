// What disk lanes do: panels and embedding rows arrive as they are in the checkpoint, hidden rows
// come back as they were written, and a changed byte is found.
#include "engine/disk_steps.h"

#include "engine/executor_bench.h"
#include "support/expect_error.h"

namespace penstock {
namespace {

class DiskStepsTest : public testing::ExecutorBench {
 protected:
  DiskSteps disk_{executor_parts_, *staging_, *places_};
};

TEST_F(DiskStepsTest, APanelHoldsTheRowsOfTheCheckpoint) {
  int read = 0;
  for (const Step& one : schedule_.steps) {
    if (one.kind != StepKind::panel_read || read == 5) continue;
    ++read;
    wait(disk_.read_panel(call(one)));
    const Panel& panel = places_->panel(one);
    const WeightInfo& info = executor_parts_.weights->at(panel.weight);
    const WeightPanel found =
        executor_parts_.store->staged(panel, places_->slot(one, SlotKind::host_ring));
    std::vector<float> wanted((panel.row_end - panel.row_begin) * info.cols);
    parts_->model.source().read_floats(info, panel.row_begin, panel.row_end, wanted.data());
    EXPECT_EQ(found.row_begin, panel.row_begin);
    EXPECT_EQ(std::memcmp(found.data, wanted.data(), wanted.size() * sizeof(float)), 0);
  }
  EXPECT_EQ(read, 5);
}

TEST_F(DiskStepsTest, EmbeddingRowsAreThoseOfTheTokens) {
  const Step& gather = step(StepKind::embed_gather);
  wait(disk_.gather(call(gather)));
  const auto* rows = reinterpret_cast<const float*>(places_->slot(gather, SlotKind::gather));
  const int table = executor_parts_.weights->find(Role::token_embed);
  const WeightInfo& info = executor_parts_.weights->at(table);
  std::vector<float> wanted(info.cols);
  const std::vector<int32_t>& ids = sweep_->binding.batch(gather.batch).token_ids;
  ASSERT_EQ(ids.size(), 40u);
  for (size_t i = 0; i < ids.size(); ++i) {
    parts_->model.source().read_floats(info, ids[i], ids[i] + 1, wanted.data());
    ASSERT_EQ(std::memcmp(rows + i * info.cols, wanted.data(), info.cols * sizeof(float)), 0) << i;
  }
}

TEST_F(DiskStepsTest, HiddenRowsComeBackAndAChangedByteIsFound) {
  const Step& write = step(StepKind::activation_write, HiddenHome::disk);
  const StepCall call = this->call(write);
  float* rows = places_->host_hidden(call);
  const size_t count = 40 * static_cast<size_t>(executor_parts_.spec->hidden);
  for (size_t i = 0; i < count; ++i) rows[i] = static_cast<float>(i);
  wait(disk_.write_hidden(call));
  std::fill_n(rows, count, -1.0f);
  wait(disk_.read_hidden(call));
  for (size_t i = 0; i < count; ++i) ASSERT_EQ(rows[i], static_cast<float>(i));
  SpillFile& spill = executor_parts_.activations->spill();
  rows[3] = 0.5f;  // written past the checksum
  const uint64_t unit =
      executor_parts_.activations->unit(0, plan_.batches.at(write.batch).activation_unit);
  spill.file().write(rows, spill.unit_bytes(), spill.offset(unit));
  expect_error(ErrorCode::corrupt, "activation", [&] { wait(disk_.read_hidden(call)); });
}

}  // namespace
}  // namespace penstock
