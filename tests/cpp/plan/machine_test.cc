#include "plan/machine.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "plan/cost.h"

namespace penstock {
namespace {

Machine measured() {
  Machine machine;
  machine.disk_read_bytes_per_second = 1.5e9;
  machine.gemm = {{"bf16", 1, 10}, {"bf16", 101, 1010}, {"int4-g64", 64, 500}};
  machine.attention = {{"bf16", 7e9}};
  machine.step_seconds = 3e-6;
  machine.spread = {{"disk_read_bytes_per_second", 0.07}, {"gemm", 0.5}, {"step_seconds", 0}};
  return machine;
}

TEST(Machine, SurvivesJson) {
  const Machine machine = machine_from_json(machine_to_json(measured(), "a test"), "m.json");
  EXPECT_EQ(machine.disk_read_bytes_per_second, 1.5e9);
  ASSERT_EQ(machine.gemm.size(), 3u);
  EXPECT_EQ(machine.gemm[1].rows, 101);
  EXPECT_EQ(machine.gemm[2].format, "int4-g64");
  EXPECT_EQ(machine.attention_rate("bf16"), 7e9);
  EXPECT_EQ(machine.step_seconds, 3e-6);
  EXPECT_EQ(machine.spread, measured().spread);
}

TEST(Machine, AStepCostsWhatWasMeasuredOrAConstant) {
  EXPECT_EQ(visit_seconds(measured()), 3e-6);
  EXPECT_GT(visit_seconds(Machine{}), 0);
  EXPECT_NE(visit_seconds(Machine{}), 3e-6);
  EXPECT_EQ(machine_from_json("{}", "m.json").step_seconds, 0);
}

TEST(Machine, TimesBetweenMeasuredRowCountsLieOnALine) {
  const Machine machine = measured();
  EXPECT_EQ(machine.gemm_rate("bf16", 1), 10);
  EXPECT_EQ(machine.gemm_rate("bf16", 101), 1010);
  EXPECT_EQ(machine.gemm_rate("bf16", 5000), 1010);  // the rate stays
  // Both launches take 0.1 s, so does every one between.
  EXPECT_NEAR(machine.gemm_rate("bf16", 51), 510, 1e-9);
  // Fewer rows than measured are no faster than the fewest: the time stays.
  EXPECT_NEAR(machine.gemm_rate("int4-g64", 32), 250, 1e-9);
}

// Of products that go another way from some number of rows on.
TEST(Machine, VariantProductsHaveTheirRateFromTheFewestRowsTheyWereMeasuredAt) {
  Machine machine;
  machine.gemm = {{"int4-g64:bf16", 1, 10}, {"int4-g64:bf16", 100, 1000}};
  const QuantFormat& int4 = format(weight_format("int4-g64"));
  const std::string name = product_name(int4, Compute::weight_only, false);
  EXPECT_NE(name, product_name(int4, Compute::weight_only));
  EXPECT_EQ(product_name(int4, Compute::fast, false), "int4-g64");
  EXPECT_EQ(product_name(format(weight_format("bf16")), Compute::weight_only, false), "bf16");
  EXPECT_EQ(machine.gemm_rate(name, 100), 1000);
  EXPECT_EQ(machine.gemm_rate(name, 5000), 1000);
  machine.gemm.push_back({name, 2048, 3000});
  EXPECT_EQ(machine.gemm_rate(name, 2047), 1000);
  EXPECT_EQ(machine.gemm_rate(name, 2048), 3000);
  EXPECT_EQ(machine.gemm_rate(name, 5000), 3000);
  EXPECT_EQ(machine.gemm_rate("int4-g64:bf16", 5000), 1000);
}

TEST(Machine, WhatWasNotMeasuredHasDefaults) {
  const Machine machine = measured();
  EXPECT_EQ(machine.gemm_rate("fp16", 8), 0);
  EXPECT_EQ(machine.attention_rate("int4"), machine.attention_bytes_per_second);
}

struct Refused {
  const char *text, *field;
};

TEST(Machine, RefusalsNameFileAndField) {
  const Refused cases[] = {
      {R"({"version": 2})", "version"},
      {R"({"version": 0})", "version"},
      {R"({"disk_speed": 1})", "disk_speed"},
      {R"({"step_seconds": 0})", "step_seconds"},
      {R"({"step_seconds": 2})", "step_seconds"},
      {R"({"spread": 1})", "spread"},
      {R"({"spread": {"disk": 0.1}})", "spread.disk"},
      {R"({"spread": {"gemm": -0.1}})", "spread.gemm"},
      {R"({"disk_read_bytes_per_second": 0})", "disk_read_bytes_per_second"},
      {R"({"gemm": {}})", "gemm"},
      {R"({"gemm": [3]})", "gemm[0]"},
      {R"({"gemm": [{"format": "bf16", "rows": 0, "flops_per_second": 1}]})", "gemm[0].rows"},
      {R"({"gemm": [{"format": "bf16", "flops_per_second": 1}]})", "gemm[0].rows"},
      {R"({"gemm": [{"rows": 1, "flops_per_second": 1}]})", "gemm[0].format"},
      {R"({"gemm": [{"format": "bf16", "rows": 1}]})", "gemm[0].flops_per_second"},
      {R"({"attention": [{"kv": "bf16"}]})", "attention[0].bytes_per_second"},
      {R"({"attention": [{"kv": "bf16", "rows": 1}]})", "attention[0].rows"},
  };
  for (const Refused& each : cases) {
    try {
      machine_from_json(each.text, "m.json");
      ADD_FAILURE() << each.text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_EQ(error.detail().file, "m.json");
      EXPECT_EQ(error.detail().field, each.field) << each.text;
      EXPECT_FALSE(error.detail().allowed.empty()) << each.text;
    }
  }
}

}  // namespace
}  // namespace penstock
