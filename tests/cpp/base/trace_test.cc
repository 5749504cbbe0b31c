#include "base/trace.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

namespace penstock {
namespace {

using nlohmann::json;

const std::vector<LaneEvent> kEvents = {
    {{LaneKind::compute, 0}, "gemm", 11, 0.001, 0.002, 0, 1, {}},
    {{LaneKind::disk_read, 1}, "a \"quoted\\\" label\n", 12, 0.0015, 0.0035, 4096, 1, {}},
    {{LaneKind::disk_read, 1}, "read", 13, 0.002, 0.004, 8192, 2, {}},
    {{LaneKind::compute, 0}, "norm", 14, 0.002, 0.0025, 0, 2, {}},
};

TEST(Trace, IsJsonWithEveryTask) {
  const json trace = json::parse(chrome_trace(kEvents));
  size_t slices = 0;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const LaneEvent& source = kEvents.at(event["args"]["tag"].get<size_t>() - 11);
    EXPECT_EQ(event["name"], source.label);
    EXPECT_EQ(event["args"]["bytes"], source.bytes);
    EXPECT_NEAR(event["ts"].get<double>(), source.begin_seconds * 1e6, 1e-3);
    EXPECT_NEAR(event["dur"].get<double>(), (source.end_seconds - source.begin_seconds) * 1e6,
                2e-3);
    ++slices;
  }
  EXPECT_EQ(slices, kEvents.size());
}

TEST(Trace, OneTrackPerLaneAndMoreOnlyForOverlap) {
  const json trace = json::parse(chrome_trace(kEvents));
  std::multiset<std::string> names;
  std::map<int64_t, double> free_at;
  for (const json& event : trace["traceEvents"]) {
    if (event["name"] == "thread_name") names.insert(event["args"]["name"]);
    if (event["ph"] != "X") continue;
    const int64_t track = event["tid"];
    EXPECT_GE(event["ts"].get<double>() + 1e-6, free_at[track]);
    free_at[track] = event["ts"].get<double>() + event["dur"].get<double>();
  }
  EXPECT_EQ(names, (std::multiset<std::string>{"compute", "disk_read:1", "disk_read:1 (2)"}));
}

TEST(Trace, ArrowsLeadFromATransferToItsUse) {
  const LaneId disk{LaneKind::disk_read, 0}, compute{LaneKind::compute, 0};
  const std::vector<LaneEvent> events = {
      {disk, "weights read", 1, 0.001, 0.002, 4096, 7, {}},
      {compute, "mlp", 2, 0.003, 0.004, 0, 3, {{disk, 7}, {disk, 99}}},
      {compute, "norm", 3, 0.005, 0.006, 0, 4, {{compute, 3}}},
  };
  std::vector<json> flows;
  const json trace = json::parse(chrome_trace(events));
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] == "s" || event["ph"] == "f") flows.push_back(event);
  }
  ASSERT_EQ(flows.size(), 2u);  // not from what was not recorded, nor from work to work
  EXPECT_EQ(flows[0]["ph"], "s");
  EXPECT_EQ(flows[0]["id"], flows[1]["id"]);
  EXPECT_NEAR(flows[0]["ts"].get<double>(), 2000, 1e-3);
  EXPECT_NEAR(flows[1]["ts"].get<double>(), 3000, 1e-3);
  EXPECT_NE(flows[0]["tid"], flows[1]["tid"]);
}

TEST(Trace, OfNothingIsStillJson) {
  EXPECT_EQ(json::parse(chrome_trace({}))["traceEvents"].size(), 1u);
}

}  // namespace
}  // namespace penstock
