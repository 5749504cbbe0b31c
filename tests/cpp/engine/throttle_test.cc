// Throttled runs: the same bits, lanes busy for at least as long as the rates say, and refusals of
// rates that a device cannot be throttled to.
#include "engine/throttle.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "penstock/engine.h"
#include "support/outcome.h"
#include "support/tiny_engine.h"

namespace penstock {
namespace {

using testing::collect;
using testing::expect_honest;
using testing::greedy_request;
using testing::Outcome;
using testing::submit;
using testing::tiny_opt_config;
using testing::TinyEngine;

constexpr const char* kRates = R"({"version": 1, "about": "slow",
  "disk_read_bytes_per_second": 4e7, "disk_write_bytes_per_second": 3e7,
  "h2d_bytes_per_second": 6e7, "d2h_bytes_per_second": 2e6, "gemm_flops_per_second": 2e8,
  "attention_bytes_per_second": 3e7, "host_attention_bytes_per_second": 4e7})";

class Throttled : public ::testing::TestWithParam<bool> {
 protected:
  Throttled() {
    options_.device = "virtual";
    options_.expected_rows = 6;
    options_.max_prompt = 60;
    options_.max_new = 4;
    options_.policy = std::string(R"({"weight_share": {"host": 0.5, "disk": 0.5},
        "kv_share": {"device": 0.34, "host": 0.33, "disk": 0.33}, "micro_batch": 3,
        "micro_batches": 2, "host_attention": )") +
                      (GetParam() ? "true}" : "false}");
  }

  Outcome run(const std::string& throttle) {
    options_.throttle = throttle;
    Engine engine(options_);
    std::vector<Request> requests(6, greedy_request(4));
    for (int i = 0; i < 6; ++i) {
      for (int t = 0; t < 10 * (i + 1); ++t) requests[i].tokens.push_back((37 * t + 11 * i) % 500);
      requests[i].sampling.logprobs = 2;
    }
    Outcome outcome;
    collect(engine, submit(engine, requests), outcome);
    expect_honest(outcome.stats);
    return outcome;
  }

  TinyEngine tiny_{tiny_opt_config("float32")};
  EngineOptions options_ = tiny_.options;
};

TEST_P(Throttled, GivesTheSameBitsAndKeepsToTheRates) {
  const Outcome plain = run("");
  const Outcome found = run(kRates);
  EXPECT_TRUE(found.same(plain));
  const Throttle rates = throttle_from_json(kRates, "virtual");
  const std::pair<const char*, double> lanes[] = {{"disk_read", rates.disk_read},
                                                  {"disk_write", rates.disk_write},
                                                  {"h2d", rates.h2d},
                                                  {"d2h", rates.d2h},
                                                  {"host_compute", rates.host_attention}};
  for (const auto& [name, rate] : lanes) {
    const LaneReport& lane = found.stats.lanes.at(name);
    EXPECT_GE(lane.busy_seconds, static_cast<double>(lane.bytes) / rate) << name;
    EXPECT_TRUE(lane.bytes > 0 || (std::string(name) == "host_compute" && !GetParam())) << name;
  }
  // The layers' products alone: two flops for each value and token.
  const double tokens = 210 + 6 * 3, values = 2 * (4 * 64 * 64 + 2 * 64 * 144);
  EXPECT_GE(found.stats.lanes.at("compute").busy_seconds, 2 * tokens * values / rates.gemm);
}

INSTANTIATE_TEST_SUITE_P(HostAttention, Throttled, ::testing::Bool());

void expect_refused(const std::string& text, const std::string& device, ErrorCode code,
                    const std::string& field) {
  try {
    throttle_from_json(text, device);
    FAIL() << text << " on " << device;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << text;
    EXPECT_EQ(error.detail().file, "throttle");
    EXPECT_EQ(error.detail().field, field);
  }
}

TEST(Throttle, KeepsOnlyWhatStandsInIt) {
  const Throttle none = throttle_from_json("", "cpu");
  EXPECT_EQ(none.disk_read + none.disk_write + none.h2d + none.d2h + none.gemm + none.attention +
                none.host_attention,
            0);
  const Throttle some =
      throttle_from_json(R"({"disk_read_bytes_per_second": 5, "version": 1})", "cpu:portable");
  EXPECT_EQ(some.disk_read, 5);
  EXPECT_EQ(some.disk_write, 0);
  EXPECT_EQ(throttle_from_json(R"({"d2h_bytes_per_second": 7})", "virtual:avx2").d2h, 7);
  EXPECT_EQ(
      throttle_from_json(R"({"host_attention_bytes_per_second": 9})", "cuda:0").host_attention, 9);
}

TEST(Throttle, RefusesWhatADeviceCannotBeHeldTo) {
  const auto unsupported = ErrorCode::unsupported, wrong = ErrorCode::invalid_argument;
  expect_refused(R"({"h2d_bytes_per_second": 5})", "cpu", unsupported, "h2d_bytes_per_second");
  expect_refused(R"({"gemm_flops_per_second": 5})", "cuda:0", unsupported, "gemm_flops_per_second");
  expect_refused(R"({"host_attention_bytes_per_second": 5})", "cpu", unsupported,
                 "host_attention_bytes_per_second");
  expect_refused(R"({"gemm": [{"format": "bf16", "rows": 1, "flops_per_second": 1}]})", "virtual",
                 unsupported, "gemm");
  expect_refused(R"({"host_copy_bytes_per_second": 5})", "virtual", unsupported,
                 "host_copy_bytes_per_second");
  expect_refused(R"({"speed": 5})", "virtual", wrong, "speed");
  expect_refused(R"({"disk_read_bytes_per_second": 0})", "cpu", wrong,
                 "disk_read_bytes_per_second");
  EngineOptions options;
  options.model = "dummy:opt-125m";
  options.throttle = R"({"d2h_bytes_per_second": 5})";
  EXPECT_THROW(plan(options), ApiError);
}

}  // namespace
}  // namespace penstock
