#include <gtest/gtest.h>

#include "base/error.h"
#include "device/device.h"

namespace penstock {
namespace {

// Holds with and without CUDA in the build: a device that cannot be opened says so before it takes
// anything.
TEST(Cuda, AnUnusableDeviceIsRefusedBeforeAnythingIsOpened) {
  LaneSet lanes;
  Budget host({Tier::host, 0}, 1 << 30);
  DeviceOptions options;
  options.spec = "cuda:4711";
  try {
    open_device(options, lanes, host);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("CUDA"), std::string::npos);
    EXPECT_EQ(error.detail().found, "cuda:4711");
  }
  EXPECT_TRUE(lanes.lanes().empty());
  EXPECT_EQ(host.peak(), 0u);
}

}  // namespace
}  // namespace penstock
