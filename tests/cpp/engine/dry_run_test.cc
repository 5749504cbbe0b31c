// Facts about schedules that FlexGen's paper (arXiv 2303.06865) proves or describes, found again by
// running whole jobs through the simulator: what the zig-zag block schedule loads, how many rows of
// all ages fit where a block of equal rows did, and what is won when prompts are read while
// decoding rows wait for their transfers.
#include "engine/dry_run.h"

#include <gtest/gtest.h>

#include "plan/policy_shape.h"
#include "plan/tiny_models.h"

namespace penstock {
namespace {

constexpr LaneId kCompute{LaneKind::compute, 0}, kHost{LaneKind::host_compute, 0};
constexpr LaneId kUp{LaneKind::h2d, 0}, kDown{LaneKind::d2h, 0};

struct Job {
  Tiny model;
  Policy wanted;
  ResolvedPolicy policy;
  MemoryPlan memory;

  explicit Job(int layers = 4) : model(llama_text(64, 4, layers, 500, false)) {
    PlanInput& input = model.input;
    input.accelerator = true;
    input.device_bytes = {uint64_t{1} << 40};
    input.machine.gemm_flops_per_second = 1e9;
    input.machine.h2d_bytes_per_second = input.machine.d2h_bytes_per_second = 1e9;
    wanted.weight_share = Shares{0, 1, 0};
  }

  void plan(int64_t rows, int64_t prompt, int64_t fresh) {
    model.input.workload = {rows, prompt, prompt, fresh, fresh};
    policy = PolicyShape(model.input, wanted).complete();
    memory = memory_plan(model.input, policy);
  }

  Prediction run() const {
    const Workload& work = model.input.workload;
    DryRunInput job;
    job.plan = &model.input;
    job.policy = &policy;
    job.memory = &memory;
    job.rows.assign(static_cast<size_t>(work.rows), {work.mean_prompt, work.mean_new, {}});
    return dry_run(job);
  }
};

// A block of rows loads every weight once for each token it generates, whatever the number of rows.
TEST(ZigZag, LoadsTheWeightsOncePerTokenOfABlock) {
  for (const int rows : {1, 4, 16}) {
    Job job;
    job.wanted.admission = Admission::block;
    job.wanted.max_sequences = job.wanted.micro_batch = rows;
    job.wanted.micro_batches = 1;
    job.wanted.micro_batch_tokens = rows * 20;
    job.plan(rows, 20, 12);
    const Prediction found = job.run();
    EXPECT_EQ(found.sweeps, 12u);
    // Beside the weights: embedding rows, two bytes a value.
    const uint64_t tokens = found.prompt_tokens + rows * 11, row = 64 * 2;
    EXPECT_EQ(found.lane_bytes.at(kUp), 12 * job.memory.weights.uploaded_bytes + tokens * row);
  }
}

// Keys and values in host memory come up in every sweep of a row's life: for each token after the
// first, those of all tokens before it. In whole pages that hold something.
TEST(ZigZag, MovesTheKeysOfAllTokensForEachToken) {
  Job job;
  job.wanted.admission = Admission::block;
  job.wanted.kv_share = Shares{0, 1, 0};
  job.wanted.weight_share = Shares{1, 0, 0};
  job.wanted.max_sequences = job.wanted.micro_batch = 8;
  job.wanted.micro_batches = 1;
  job.wanted.micro_batch_tokens = 8 * 40;
  job.plan(8, 40, 30);
  const Prediction found = job.run();
  uint64_t pages = 0;
  for (int stored = 40; stored < 40 + 29; ++stored) {
    pages += (stored + job.policy.page_tokens - 1) / job.policy.page_tokens;
  }
  const uint64_t up = 8 * 4 * pages * job.memory.kv.page_bytes();
  EXPECT_EQ(found.lane_bytes.at(kUp) - found.prompt_tokens * 128 - 8 * 29 * 128, up);
  const uint64_t tokens = 8 * (40 + 29), kv_row = 2 * 32 * 4;  // each goes down once, fp32
  EXPECT_EQ(found.lane_bytes.at(kDown) - 8 * 30 * 4, 4 * tokens * kv_row);  // and the new tokens
}

struct Shape {
  int prompt, fresh;
};

class Diagonal : public ::testing::TestWithParam<Shape> {};

// Rows of all ages hold half of what they will generate on average, so in the pages of a block of
// rows there is room for (2s + 2n) / (2s + n) as many, and a job takes that many sweeps fewer.
TEST_P(Diagonal, MoreRowsFitWhenTheyAreOfAllAges) {
  const auto [prompt, fresh] = GetParam();
  const int rows = 32, total = rows * 60;
  Job block;
  block.wanted.admission = Admission::block;
  block.wanted.max_sequences = block.wanted.micro_batch = rows;
  block.wanted.micro_batches = 1;
  block.wanted.micro_batch_tokens = rows * prompt;
  block.wanted.page_tokens = 16;
  block.plan(total, prompt, fresh);
  Job steady;
  const double gain = (2.0 * prompt + 2 * fresh) / (2.0 * prompt + fresh);
  steady.wanted = block.wanted;
  steady.wanted.admission = Admission::continuous;
  steady.wanted.max_sequences = steady.wanted.micro_batch = 2 * rows;
  // Prompts come in as rows leave: half a page of each row is empty on average.
  const double length = prompt + fresh / 2.0 + 8, pages = (prompt + fresh) / 16;
  const double flying = rows * pages * 16 / length;
  steady.wanted.pace = static_cast<int>(flying / fresh * prompt);
  steady.plan(total, prompt, fresh);
  steady.memory.kv_blocks = block.memory.kv_blocks;  // the same space
  const Prediction zigzag = block.run(), diagonal = steady.run();
  EXPECT_EQ(zigzag.sweeps, 60u * fresh);
  const double won = static_cast<double>(zigzag.sweeps) / static_cast<double>(diagonal.sweeps);
  EXPECT_GT(won, 0.9 * flying / rows) << "sweeps " << diagonal.sweeps;
  EXPECT_GT(won, 0.85 * gain);
  EXPECT_LT(won, 1.01 * gain);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Diagonal,
                         ::testing::Values(Shape{128, 128}, Shape{64, 128}, Shape{64, 256},
                                           Shape{256, 64}));

// Host attention takes as long as the products of prompts: one after the other in a block, side by
// side when prompts enter while others decode.
TEST(Diagonal, PromptsAreReadUnderTheTransfersOfDecodingRows) {
  Job job(20);
  job.wanted.kv_share = Shares{0, 1, 0};
  job.wanted.host_attention = true;
  job.wanted.max_sequences = 32;
  job.wanted.micro_batch = 8;
  job.wanted.micro_batches = 8;
  job.wanted.micro_batch_tokens = 256;
  job.wanted.admission = Admission::block;
  job.plan(512, 128, 32);
  Machine& machine = job.model.input.machine;
  machine.h2d_bytes_per_second = machine.d2h_bytes_per_second = 1e11;
  machine.host_attention_bytes_per_second = 1e6;  // starting a step takes no time beside it
  machine.gemm_flops_per_second = 1e6;
  const Prediction once = job.run();  // what either takes is proportional to its rate
  machine.gemm_flops_per_second *= once.lane_seconds.at(kCompute) / once.lane_seconds.at(kHost);
  const Prediction block = job.run();
  EXPECT_NEAR(block.lane_seconds.at(kCompute), block.lane_seconds.at(kHost),
              0.3 * block.lane_seconds.at(kHost));
  job.wanted.admission = Admission::continuous;
  job.wanted.pace = 128;
  job.plan(512, 128, 32);
  const Prediction steady = job.run();
  EXPECT_LT(steady.seconds,
            1.15 * std::max(steady.lane_seconds.at(kCompute), steady.lane_seconds.at(kHost)));
  EXPECT_GT(block.seconds, 1.6 * steady.seconds);
}

// Rows that the host attends for keep apart from prompts, but never keep them from entering.
TEST(DryRun, PromptsEnterBesideHostedRowsInOneMicroBatch) {
  Job job;
  job.wanted.kv_share = Shares{0, 1, 0};
  job.wanted.host_attention = true;
  job.wanted.max_sequences = job.wanted.micro_batch = 8;
  job.wanted.micro_batches = 1;
  job.wanted.micro_batch_tokens = 128;
  job.plan(64, 40, 20);
  const Prediction found = job.run();
  EXPECT_LT(found.sweeps, 64u * 20 / 8 * 2);
}

// A long job is run through in part; what is said of it is near what the whole gives.
TEST(DryRun, ExtrapolationIsNearTheWholeJob) {
  Job job;
  job.wanted.max_sequences = job.wanted.micro_batch = 16;
  job.wanted.micro_batches = 2;
  job.wanted.micro_batch_tokens = 128;
  job.plan(800, 40, 20);
  const Prediction whole = job.run();
  DryRunInput part;
  part.plan = &job.model.input;
  part.policy = &job.policy;
  part.memory = &job.memory;
  part.rows.assign(800, {40, 20, {}});
  part.most_rows = 16 * 8;
  const Prediction found = dry_run(part);
  EXPECT_TRUE(found.extrapolated);
  EXPECT_FALSE(whole.extrapolated);
  EXPECT_EQ(found.generated_tokens, whole.generated_tokens);
  EXPECT_NEAR(found.seconds, whole.seconds, 0.08 * whole.seconds);
  const double bytes = static_cast<double>(whole.lane_bytes.at(kUp));
  EXPECT_NEAR(static_cast<double>(found.lane_bytes.at(kUp)), bytes, 0.08 * bytes);
}

// Rows that enter together finish together: what is run through ends in the middle of no wave.
TEST(DryRun, ExtrapolationCountsWholeWaves) {
  Job job;
  job.wanted.micro_batches = 2;
  job.wanted.micro_batch_tokens = 128;
  for (const int sequences : {16, 23, 40, 57, 64}) {
    job.wanted.max_sequences = job.wanted.micro_batch = sequences;
    job.plan(12 * sequences, 40, 20);
    const Prediction whole = job.run();
    DryRunInput part;
    part.plan = &job.model.input;
    part.policy = &job.policy;
    part.memory = &job.memory;
    part.rows.assign(static_cast<size_t>(12 * sequences), {40, 20, {}});
    part.most_rows = 3 * sequences;
    const Prediction found = dry_run(part);
    EXPECT_TRUE(found.extrapolated);
    EXPECT_NEAR(found.seconds, whole.seconds, 0.05 * whole.seconds) << sequences;
  }
}

// Half of the rows in flight: their results are there after half of the time.
TEST(DryRun, SmallerWavesHaveTheirFirstResultsEarlier) {
  Job job;
  job.wanted.micro_batches = 2;
  job.wanted.micro_batch_tokens = 256;
  std::vector<double> shares;
  for (const int sequences : {64, 32, 16}) {
    job.wanted.max_sequences = job.wanted.micro_batch = sequences;
    job.plan(64, 40, 20);
    const Prediction found = job.run();
    shares.push_back(found.first_results / found.seconds);
  }
  EXPECT_GT(shares[0], 0.9);
  EXPECT_NEAR(shares[1], 1.0 / 2, 0.1);
  EXPECT_NEAR(shares[2], 1.0 / 4, 0.1);
}

}  // namespace
}  // namespace penstock
