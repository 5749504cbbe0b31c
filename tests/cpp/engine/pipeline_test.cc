// Several accelerators as a pipeline: random divisions of the layers over two and three virtual
// ones, with all that a single one can do. Every row's bits are those of the plain CPU run, bytes,
// sweeps and peaks those that were predicted, and sweeps are in flight together.
#include <map>

#include "engine/dry_run.h"
#include "engine/tier_fixture.h"
#include "plan/policy_shape.h"
#include "plan/tiny_models.h"

namespace penstock {
namespace {

using testing::Outcome;
using testing::PolicyMaker;
using testing::TierFormat;

class Pipeline : public testing::TierFixture {
 protected:
  // `layers` divided at random.
  static std::vector<int> random_division(PolicyMaker& maker, int layers, int devices) {
    std::vector<int> division(static_cast<size_t>(devices), 1);
    for (int left = layers - devices; left > 0; --left) ++division[maker.pick(devices)];
    return division;
  }

  int layers() const { return GetParam().llama ? 3 : 2; }
};

TEST_P(Pipeline, RandomPoliciesGiveTheBitsOfTheCpu) {
  base_.policy = R"({"share_prefix": false})";
  const Outcome expected = run(base_);
  PolicyMaker maker(std::hash<std::string>{}(std::string(GetParam().weights) + GetParam().kv));
  std::map<std::string, int> used;
  for (int i = 0; i < GetParam().policies; ++i) {
    const int devices = 2 + maker.pick(layers() - 1);
    EngineOptions options =
        maker.options(base_, devices == 2 ? "virtual,virtual" : "virtual,virtual,virtual");
    if (maker.pick(2) == 0) {
      nlohmann::json policy = nlohmann::json::parse(options.policy);
      policy["device_layers"] = random_division(maker, layers(), devices);
      options.policy = policy.dump();
    }
    if (maker.pick(2) == 0) options.device_memory.assign(devices, uint64_t{100} << 20);
    options.device_memory.back() += 12345;
    const Outcome found = run(options);
    ASSERT_TRUE(found.same(expected)) << options.device << " " << options.policy;
    for (const auto& [lane, report] : found.stats.lanes) used[lane] += report.tasks > 0;
    used["shared"] += found.stats.shared_tokens > 0;
  }
  for (const char* lane : {"compute", "compute:1", "h2d", "h2d:1", "d2h", "d2h:1", "host_compute",
                           "disk_read", "disk_write", "shared"}) {
    EXPECT_GT(used[lane], 0) << lane;
  }
}

TEST_P(Pipeline, CancelledRowsLeaveTheOthersAlone) {
  base_.policy = R"({"share_prefix": true})";
  const Outcome expected = run(base_);
  base_.device = "virtual,virtual";
  base_.delay_seed = 3;
  base_.policy = R"({"share_prefix": true, "micro_batch": 2, "micro_batches": 1})";
  Engine engine(base_);
  const std::map<uint64_t, int> row_of = testing::submit(engine, testing::requests());
  std::map<int, std::vector<int32_t>> tokens;
  int steps = 0;
  while (!engine.idle()) {
    for (const Event& event : engine.step()) {
      const int row = row_of.at(event.request);
      EXPECT_FALSE(steps > 1 && row == 3) << "an event of a row that was cancelled";
      for (const TokenChoice& choice : event.tokens) tokens[row].push_back(choice.token);
    }
    // Row 6 counts on the pages that row 3 would have written.
    if (++steps == 2) engine.cancel(4);
  }
  for (const auto& [row, wanted] : expected.tokens) {
    if (row == 3) continue;
    EXPECT_EQ(tokens[row], wanted) << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Pipeline,
                         ::testing::Values(TierFormat{true, "auto", "fp32", 16},
                                           TierFormat{true, "int4", "int8", 16},
                                           TierFormat{false, "int8", "bf16", 16}),
                         testing::format_name);

// The figures of a job on `devices` equal accelerators, all of it in their memory.
Prediction predicted(int devices, int micro_batch) {
  Tiny model(llama_text(64, 4, 8, 500, false));
  PlanInput& input = model.input;
  input.accelerator = true;
  input.device_bytes.assign(devices, uint64_t{1} << 40);
  input.machine.gemm_flops_per_second = 1e8;
  input.machine.host_copy_bytes_per_second = 1e12;
  input.machine.h2d_bytes_per_second = input.machine.d2h_bytes_per_second = 1e10;
  input.workload = {32, 16, 16, 24, 24};
  Policy wanted;
  wanted.max_sequences = 16;
  wanted.micro_batch = wanted.micro_batch_tokens = micro_batch;
  const ResolvedPolicy policy = PolicyShape(input, wanted).complete();
  const MemoryPlan memory = memory_plan(input, policy);
  DryRunInput job{.plan = &input, .policy = &policy, .memory = &memory, .rows = {}, .most_rows = 0};
  job.rows.assign(32, {16, 24, {}});
  return dry_run(job);
}

TEST(PipelineTime, TwoDevicesTakeLittleMoreThanHalfTheTime) {
  const Prediction one = predicted(1, 16), two = predicted(2, 8);
  EXPECT_EQ(one.generated_tokens, two.generated_tokens);
  EXPECT_LT(two.seconds, 0.62 * one.seconds);
  const double first = two.lane_seconds.at({LaneKind::compute, 0});
  const double second = two.lane_seconds.at({LaneKind::compute, 1});
  EXPECT_GT(std::min(first, second), 0.8 * two.seconds) << "both devices have work";
}

}  // namespace
}  // namespace penstock
