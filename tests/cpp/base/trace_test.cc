#include "base/trace.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

namespace penstock {
namespace {

using nlohmann::json;

const std::vector<LaneEvent> kEvents = {
    {{LaneKind::compute, 0}, "gemm", 11, 0.001, 0.002, 0},
    {{LaneKind::disk_read, 1}, "a \"quoted\\\" label\n", 12, 0.0015, 0.0035, 4096},
    {{LaneKind::disk_read, 1}, "read", 13, 0.002, 0.004, 8192},
    {{LaneKind::compute, 0}, "norm", 14, 0.002, 0.0025, 0},
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

TEST(Trace, OfNothingIsStillJson) {
  EXPECT_EQ(json::parse(chrome_trace({}))["traceEvents"].size(), 1u);
}

}  // namespace
}  // namespace penstock
