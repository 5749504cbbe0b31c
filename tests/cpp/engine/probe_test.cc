#include "penstock/probe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "plan/machine.h"
#include "tensor/format.h"

namespace penstock {
namespace {

ProbeOptions quick(const char* device) {
  ProbeOptions options;
  options.device = device;
  options.threads = 1;
  options.width = 128;
  options.seconds = 0.1;
  options.disk = ::testing::TempDir();
  options.disk_bytes = uint64_t{64} << 20;
  return options;
}

// One probe of each device serves all tests that look at its figures.
const Machine& probed(const std::string& device) {
  static std::map<std::string, Machine> machines;
  if (!machines.contains(device)) {
    machines[device] = machine_from_json(probe_machine(quick(device.c_str())), "probe");
  }
  return machines[device];
}

TEST(Probe, MeasuresEveryFormatOnEveryDevice) {
  for (const char* device : {"cpu", "virtual"}) {
    const Machine& machine = probed(device);
    for (const QuantFormat& format : format_table()) {
      if (!format.for_weights) continue;
      EXPECT_GT(machine.gemm_rate(format.name, 1), 1e6) << format.name;
    }
    EXPECT_GE(machine.attention.size(), 5u);
    for (const AttentionRate& rate : machine.attention) EXPECT_GT(rate.bytes_per_second, 1e6);
    EXPECT_NE(machine.disk_read_bytes_per_second, Machine{}.disk_read_bytes_per_second);
    EXPECT_NE(machine.disk_write_bytes_per_second, Machine{}.disk_write_bytes_per_second);
    EXPECT_NE(machine.host_copy_bytes_per_second, Machine{}.host_copy_bytes_per_second);
    const bool has_links = machine.h2d_bytes_per_second != Machine{}.h2d_bytes_per_second;
    EXPECT_EQ(has_links, std::string(device) == "virtual");
  }
}

TEST(Probe, MeasuresStepsAndAttentionBesideTheDevice) {
  for (const char* device : {"cpu", "virtual"}) {
    const Machine& machine = probed(device);
    EXPECT_GT(machine.step_seconds, 0);
    EXPECT_LT(machine.step_seconds, 0.1);
    EXPECT_GT(machine.attention_flops_per_second, 1e6);
    ASSERT_EQ(machine.host_attention.size(), machine.attention.size());
    bool all_equal = true;
    double slowest = machine.host_attention[0].bytes_per_second;
    for (size_t i = 0; i < machine.attention.size(); ++i) {
      EXPECT_EQ(machine.host_attention[i].kv, machine.attention[i].kv);
      EXPECT_GT(machine.host_attention[i].bytes_per_second, 1e6);
      slowest = std::min(slowest, machine.host_attention[i].bytes_per_second);
      all_equal &= machine.host_attention[i].bytes_per_second ==  //
                   machine.attention[i].bytes_per_second;
    }
    EXPECT_EQ(all_equal, std::string(device) == "cpu");
    EXPECT_EQ(machine.host_attention_bytes_per_second, slowest);
  }
}

TEST(Probe, TellsHowFarApartTheRoundsWere) {
  const Machine& machine = probed("virtual");
  for (const char* name :
       {"disk_read_bytes_per_second", "disk_write_bytes_per_second", "host_copy_bytes_per_second",
        "h2d_bytes_per_second", "d2h_bytes_per_second", "gemm", "attention", "host_attention",
        "attention_flops_per_second", "step_seconds"}) {
    EXPECT_TRUE(machine.spread.contains(name)) << name;
  }
  double most = 0;
  for (const auto& [name, spread] : machine.spread) most = std::max(most, spread);
  EXPECT_GT(most, 0);  // rounds are never all alike
}

TEST(Probe, TellsWhatItMeasures) {
  ProbeOptions options = quick("cpu:portable");
  int reports = 0;
  options.progress = [&](const std::string& what) { reports += !what.empty(); };
  options.disk.clear();
  options.quick = true;
  const std::string text = probe_machine(options);
  const auto json = nlohmann::json::parse(text);
  EXPECT_GE(reports, 10);
  EXPECT_NE(json["about"].get<std::string>().find("portable"), std::string::npos);
  EXPECT_NE(json["about"].get<std::string>().find("disk not measured"), std::string::npos);
  EXPECT_FALSE(json["spread"].contains("disk_read_bytes_per_second"));
  // Quick: fewer row counts, but of every format.
  const Machine some = machine_from_json(text, "probe");
  const Machine& whole = probed("cpu");
  EXPECT_LT(some.gemm.size(), whole.gemm.size());
  for (const GemmRate& rate : whole.gemm) EXPECT_GT(some.gemm_rate(rate.format, rate.rows), 1e6);
}

TEST(Probe, RefusesWhatIsNotThere) {
  ProbeOptions options = quick("cpu");
  options.disk = "/no/such/folder";
  EXPECT_THROW(probe_machine(options), ApiError);
  EXPECT_THROW(probe_machine(quick("cpu:nothing")), ApiError);
}

}  // namespace
}  // namespace penstock
