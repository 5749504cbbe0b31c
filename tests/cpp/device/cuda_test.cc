#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "device/device.h"
#include "support/test_device.h"

namespace penstock {
namespace {

// What opening the device says, or "" when it opens.
std::string refused(const std::string& spec) {
  LaneSet lanes;
  Budget host({Tier::host, 0}, uint64_t{64} << 20), memory({Tier::device, 0}, uint64_t{64} << 20);
  DeviceOptions options;
  options.spec = spec;
  options.memory = &memory;
  try {
    open_device(options, lanes, host);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_EQ(error.detail().found, spec);
    // It says so before it takes anything.
    EXPECT_TRUE(lanes.lanes().empty());
    EXPECT_EQ(host.peak() + memory.peak(), 0u);
    return error.what();
  }
  return "";
}

// Three machines: a build without CUDA, one with it but no GPU, and one with a GPU.
TEST(Cuda, OpensOrSaysWhatItLacks) {
  const std::string refusal = refused("cuda:0");
  if (test::test_device() == "cuda:0") {
    EXPECT_EQ(refusal, "");  // there has to be one
  }
  if (refusal.empty()) return;
  const bool not_built = refusal.find("nvcc on the PATH") != refusal.npos;
  const bool no_driver = refusal.find("NVIDIA GPU and a driver") != refusal.npos;
  EXPECT_TRUE(not_built || no_driver) << refusal;
}

TEST(Cuda, NamesThatAreNotGpusAreRefused) {
  for (const char* spec : {"cuda:", "cuda:x", "cuda:-1", "cuda:0x", "cuda:99999"}) {
    EXPECT_NE(refused(spec), "") << spec;
  }
}

}  // namespace
}  // namespace penstock
