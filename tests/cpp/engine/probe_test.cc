#include "penstock/probe.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

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

TEST(Probe, MeasuresEveryFormatOnEveryDevice) {
  for (const char* device : {"cpu", "virtual"}) {
    const std::string text = probe_machine(quick(device));
    const Machine machine = machine_from_json(text, "probe");
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

TEST(Probe, TellsWhatItMeasures) {
  ProbeOptions options = quick("cpu:portable");
  int told = 0;
  options.progress = [&](const std::string& what) { told += !what.empty(); };
  options.disk.clear();
  const auto json = nlohmann::json::parse(probe_machine(options));
  EXPECT_GE(told, 10);
  EXPECT_NE(json["about"].get<std::string>().find("portable"), std::string::npos);
  EXPECT_NE(json["about"].get<std::string>().find("disk not measured"), std::string::npos);
}

TEST(Probe, RefusesWhatIsNotThere) {
  ProbeOptions options = quick("cpu");
  options.disk = "/no/such/folder";
  EXPECT_THROW(probe_machine(options), ApiError);
  EXPECT_THROW(probe_machine(quick("cpu:nothing")), ApiError);
}

}  // namespace
}  // namespace penstock
