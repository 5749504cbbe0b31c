// Several accelerators beside each other: their names, lanes of their own, copies from one to the
// next, and host memory that belongs to none of them.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "device/device.h"
#include "support/expect_error.h"

namespace penstock {
namespace {

TEST(DeviceList, OneOfAnyKindOrSeveralOfOne) {
  EXPECT_EQ(device_list("cpu:avx2"), (std::vector<std::string>{"cpu:avx2"}));
  EXPECT_EQ(device_list("cuda:0,cuda:3"), (std::vector<std::string>{"cuda:0", "cuda:3"}));
  EXPECT_EQ(device_list("virtual,virtual:portable").size(), 2u);
  EXPECT_EQ(device_kind("virtual:portable,virtual"), "virtual");
  for (const char* spec : {"cpu,cpu", "cuda:0,cpu", "cuda:1,cuda:1", "virtual,", ",virtual"}) {
    expect_error(ErrorCode::unsupported, "cuda:0,cuda:1", [&] { device_list(spec); });
  }
}

class Peers : public testing::Test {
 protected:
  std::unique_ptr<Device> open(int ordinal, bool guard) {
    DeviceOptions options;
    options.spec = "virtual";
    options.ordinal = ordinal;
    options.device_memory = 1 << 20;
    options.guard_pages = guard;
    return open_device(options, lanes_, host_);
  }

  Budget host_{{Tier::host, 0}, 1 << 28}, first_{{Tier::device, 0}, 1 << 20},
      second_{{Tier::device, 1}, 1 << 20};
  LaneSet lanes_;
};

TEST_F(Peers, RowsGoFromOneToTheNext) {
  const auto from = open(0, true), to = open(1, true);
  const Buffer source = from->allocate(4000, first_, "rows");
  const Buffer target = to->allocate(4000, second_, "rows");
  std::vector<std::byte> data(4000), back(4000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = std::byte(i % 253);
  const Ticket up = from->copy({source.data(), data.data(), 4000, CopyDirection::h2d}, {});
  const Ticket sent =
      from->copy({target.data(), source.data(), 4000, CopyDirection::peer, to.get()}, {&up, 1});
  EXPECT_EQ(sent.lane, (LaneId{LaneKind::d2h, 0}));
  const Ticket down = to->copy({back.data(), target.data(), 4000, CopyDirection::d2h}, {&sent, 1});
  EXPECT_EQ(down.lane, (LaneId{LaneKind::d2h, 1}));
  to->wait(down);
  EXPECT_EQ(back, data);
  EXPECT_EQ(lanes_.stats({LaneKind::d2h, 0}).bytes, 4000u);
}

TEST_F(Peers, WhatIsNotThePeersIsRefused) {
  const auto from = open(0, false), to = open(1, false);
  const Buffer source = from->allocate(64, first_, "rows");
  std::vector<std::byte> elsewhere(64);
  const auto send = [&](void* target, Device* peer) {
    from->wait(from->copy({target, source.data(), 64, CopyDirection::peer, peer}, {}));
  };
  expect_error(ErrorCode::device, "destination", [&] { send(elsewhere.data(), to.get()); });
  lanes_.recover();
  expect_error(ErrorCode::device, "destination", [&] { send(source.data(), to.get()); });
  lanes_.recover();
  expect_error(ErrorCode::internal, "names one", [&] { send(source.data(), nullptr); });
}

TEST_F(Peers, HostMemoryOfADeviceIsHostMemory) {
  const auto device = open(0, true);
  const Buffer block = device->allocate(100, first_, "block");
  const Buffer beside = device->allocate(100, host_, "beside");
  EXPECT_GE(host_.used(), 100u);
  std::memset(beside.data(), 7, 100);  // never guarded
  device->wait(device->copy({block.data(), beside.data(), 100, CopyDirection::h2d}, {}));
  expect_error(ErrorCode::device, "host memory", [&] {
    device->wait(device->copy({block.data(), block.data(), 100, CopyDirection::h2d}, {}));
  });
}

}  // namespace
}  // namespace penstock
