#include "plan/policy.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "plan/machine.h"

namespace penstock {
namespace {

TEST(PolicyJson, ReadsAndWritesEveryField) {
  const std::string text =
      R"({"weight_share": {"host": 0.25, "disk": 0.75}, "kv_share": {"host": 1},
    "activation_share": {"device": 0.5, "host": 0.5}, "micro_batch": 4, "micro_batches": 3,
    "prefill_chunk": 64, "pace": 500, "share_prefix": false,
    "admission": "block", "host_attention": true, "lookahead": 2, "threads": 7,
    "overlap": false, "step_barrier": true, "whole_tensors": true})";
  const Policy first = policy_from_json(text, "p.json");
  const Policy policy = policy_from_json(policy_to_json(first), "again.json");
  EXPECT_EQ(policy.weight_share->host, 0.25);
  EXPECT_EQ(policy.weight_share->disk, 0.75);
  EXPECT_EQ(policy.weight_share->device, 0);
  EXPECT_EQ(policy.kv_share->host, 1);
  EXPECT_EQ(policy.activation_share->device, 0.5);
  EXPECT_EQ(policy.micro_batch, 4);
  EXPECT_EQ(policy.micro_batches, 3);
  EXPECT_EQ(policy.prefill_chunk, 64);
  EXPECT_EQ(policy.pace, 500);
  EXPECT_EQ(policy.share_prefix, false);
  EXPECT_EQ(policy.admission, Admission::block);
  EXPECT_EQ(policy.host_attention, true);
  EXPECT_EQ(policy.lookahead, 2);
  EXPECT_EQ(policy.threads, 7);
  EXPECT_EQ(policy.overlap, false);
  EXPECT_EQ(policy.step_barrier, true);
  EXPECT_EQ(policy.whole_tensors, true);
}

TEST(PolicyJson, EverythingIsOptional) {
  const Policy policy = policy_from_json(policy_to_json(policy_from_json("{}", "p")), "p");
  EXPECT_FALSE(policy.weight_share || policy.kv_share || policy.activation_share);
  EXPECT_FALSE(policy.micro_batch || policy.micro_batches || policy.prefill_chunk);
  EXPECT_FALSE(policy.admission || policy.host_attention || policy.lookahead || policy.threads);
  EXPECT_FALSE(policy.overlap || policy.step_barrier || policy.whole_tensors);
}

struct Refused {
  const char* text;
  const char* field;
};

class PolicyRefusals : public testing::TestWithParam<Refused> {};

TEST_P(PolicyRefusals, NameFileAndField) {
  try {
    policy_from_json(GetParam().text, "my-policy.json");
    FAIL() << GetParam().text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_EQ(error.detail().file, "my-policy.json");
    EXPECT_EQ(error.detail().field, GetParam().field);
    EXPECT_FALSE(error.detail().allowed.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Each, PolicyRefusals,
    testing::Values(Refused{R"([1])", ""}, Refused{R"({"gbs": 4})", "gbs"},
                    Refused{R"({"micro_batch": 0})", "micro_batch"},
                    Refused{R"({"micro_batch": 1.5})", "micro_batch"},
                    Refused{R"({"micro_batch": "4"})", "micro_batch"},
                    Refused{R"({"micro_batch": 18446744073709551615})", "micro_batch"},
                    Refused{R"({"micro_batches": -1})", "micro_batches"},
                    Refused{R"({"threads": 100000})", "threads"},
                    Refused{R"({"lookahead": 0})", "lookahead"}, Refused{R"({"pace": 0})", "pace"},
                    Refused{R"({"prefill_chunk": null})", "prefill_chunk"},
                    Refused{R"({"admission": "zigzag"})", "admission"},
                    Refused{R"({"admission": 1})", "admission"},
                    Refused{R"({"host_attention": 1})", "host_attention"},
                    Refused{R"({"overlap": 1})", "overlap"},
                    Refused{R"({"step_barrier": "on"})", "step_barrier"},
                    Refused{R"({"whole_tensors": null})", "whole_tensors"},
                    Refused{R"({"kv_share": 1})", "kv_share"},
                    Refused{R"({"kv_share": {"host": 0.5}})", "kv_share"},
                    Refused{R"({"kv_share": {"host": 0.5, "disk": 0.6}})", "kv_share"},
                    Refused{R"({"kv_share": {"host": 1, "ssd": 0}})", "kv_share.ssd"},
                    Refused{R"({"weight_share": {"host": -0.5, "disk": 1.5}})",
                            "weight_share.host"},
                    Refused{R"({"weight_share": {"host": true}})", "weight_share.host"}));

TEST(PolicyJson, ASumThatIsOneButForRoundingIsAccepted) {
  EXPECT_TRUE(policy_from_json(R"({"kv_share": {"host": 0.3, "disk": 0.7000001}})", "p").kv_share);
  EXPECT_THROW(policy_from_json(R"({"kv_share": {"host": 0.3, "disk": 0.70001}})", "p"), Error);
}

TEST(PolicyJson, BrokenJsonIsMalformed) {
  try {
    policy_from_json("{\"threads\": 1,}", "p.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::malformed);
  }
}

TEST(MachineJson, RoundTrip) {
  Machine machine;
  machine.disk_read_bytes_per_second = 3.25e9;
  machine.disk_write_bytes_per_second = 1.5e9;
  machine.host_copy_bytes_per_second = 2e10;
  machine.h2d_bytes_per_second = 1.25e10;
  machine.d2h_bytes_per_second = 1.375e10;
  machine.gemm_flops_per_second = 7.5e11;
  machine.attention_bytes_per_second = 9e9;
  const Machine read = machine_from_json(machine_to_json(machine), "m.json");
  EXPECT_EQ(read.disk_read_bytes_per_second, 3.25e9);
  EXPECT_EQ(read.disk_write_bytes_per_second, 1.5e9);
  EXPECT_EQ(read.host_copy_bytes_per_second, 2e10);
  EXPECT_EQ(read.h2d_bytes_per_second, 1.25e10);
  EXPECT_EQ(read.d2h_bytes_per_second, 1.375e10);
  EXPECT_EQ(read.gemm_flops_per_second, 7.5e11);
  EXPECT_EQ(read.attention_bytes_per_second, 9e9);
}

TEST(MachineJson, RefusesWhatIsNoRate) {
  for (const char* text : {R"({"gemm_flops_per_second": 0})", R"({"gemm_flops_per_second": -1})",
                           R"({"gemm_flops_per_second": "fast"})",
                           R"({"gemm_flops_per_second": 1e300})", R"({"flops": 1e9})", "3"}) {
    EXPECT_THROW(machine_from_json(text, "m.json"), Error) << text;
  }
  const Machine given = machine_from_json(R"({"gemm_flops_per_second": 5000000000})", "m.json");
  EXPECT_EQ(given.gemm_flops_per_second, 5e9);
  EXPECT_EQ(given.disk_read_bytes_per_second, Machine{}.disk_read_bytes_per_second);
}

}  // namespace
}  // namespace penstock
