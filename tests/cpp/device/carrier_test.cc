// The way by which kernel tests reach a device: nothing but operands goes there, what the op wrote
// comes back, and steps beside the operands are seen.
#include "support/carrier.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "device/op_chain.h"
#include "support/test_device.h"

namespace penstock {
namespace {

class CarriedOps : public testing::TestWithParam<ChainFormats> {};

// The virtual device refuses any operand that is not in its memory.
TEST_P(CarriedOps, LeaveTheHostAsIfItHadRunThem) {
  OpChain chain(51, GetParam());
  std::vector<std::byte> expected(chain.content()), found(chain.content());
  LaneSet lanes;
  Budget host({Tier::host, 0}, uint64_t{1} << 28);
  const std::unique_ptr<Device> cpu = open_device({}, lanes, host);
  test::Carrier carrier("virtual");
  for (size_t i = 0; i < chain.ops(expected.data()).size(); ++i) {
    cpu->wait(cpu->run(chain.ops(expected.data()) [i], {}));
    carrier.run(chain.ops(found.data())[i]);
    ASSERT_EQ(found, expected) << "op " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, CarriedOps,
                         testing::Values(ChainFormats{"fp32", "fp32", 0},
                                         ChainFormats{"fp16", "fp16", 2},
                                         ChainFormats{"int8", "bf16", 0},
                                         ChainFormats{"int4-g64", "int4", 3}));

TEST(Carrier, WhatIsNotReadIsPoison) {
  test::Carrier carrier("virtual");
  std::vector<float> x(3 * 8, 1.0f), y(3 * 5, -2.0f);
  for (const size_t gap : {5u, 6u, 7u, 13u}) x[gap] = 3.0f;  // not the op's
  const int32_t rows[] = {2, 0};
  carrier.run(GatherRowsParams{x.data(), 8, rows, 2, 4, y.data(), 5});
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(y[i], i < 10 && i % 5 < 4 ? 1.0f : -2.0f) << i;
  }
}

// A device whose row gather goes one value too far, or fails.
class Careless : public Device {
 public:
  Careless(std::unique_ptr<Device> device, LaneSet& lanes)
      : device_(std::move(device)), lanes_(lanes) {}
  const DeviceInfo& info() const override { return device_->info(); }
  Buffer allocate(size_t bytes, Budget& budget, const std::string& what) override {
    return device_->allocate(bytes, budget, what);
  }
  Ticket copy(const CopyParams& params, std::span<const Ticket> after, int64_t tag) override {
    return device_->copy(params, after, tag);
  }
  Ticket run(const Op& op, std::span<const Ticket> after, int64_t tag) override {
    const auto& p = std::get<GatherRowsParams>(op);
    if (p.rows[0] < 0) {
      LaneTask task;
      task.begin = [] { throw Error(ErrorCode::device, "no such row"); };
      return lanes_.submit({LaneKind::compute, 0}, std::move(task));
    }
    const Ticket done = device_->run(op, after, tag);
    return device_->copy({p.out + p.dim, &value_, sizeof value_, CopyDirection::h2d}, {&done, 1});
  }
  void wait(Ticket ticket) override { device_->wait(ticket); }

 private:
  const float value_ = 8.0f;
  std::unique_ptr<Device> device_;
  LaneSet& lanes_;
};

std::unique_ptr<Device> open_careless(const DeviceOptions& options, LaneSet& lanes, Budget& host) {
  return std::make_unique<Careless>(open_device(options, lanes, host), lanes);
}

TEST(Carrier, AStepBesideTheOperandsFailsTheTest) {
  std::vector<float> x(8, 1.0f), y(10, -2.0f);
  const int32_t rows[] = {0, 1};
  const GatherRowsParams op{x.data(), 4, rows, 2, 4, y.data(), 5};
  EXPECT_NONFATAL_FAILURE(test::Carrier("virtual", open_careless).run(op), "beside its operands");
  EXPECT_EQ(y[4], -2.0f);
}

TEST(Carrier, ErrorsOfTheDeviceReachTheTestAndDoNotStay) {
  EXPECT_THROW(test::Carrier("virtual:nothing"), Error);
  test::Carrier carrier("virtual", open_careless);
  std::vector<float> x(16, 1.0f), y(4);
  const int32_t bad[] = {-1}, good[] = {1, 0};
  EXPECT_THROW(carrier.run(GatherRowsParams{x.data() + 8, 4, bad, 1, 4, y.data(), 4}), Error);
  std::vector<float> wide(10, -2.0f);
  const GatherRowsParams op{x.data(), 4, good, 2, 4, wide.data(), 5};
  EXPECT_NONFATAL_FAILURE(carrier.run(op), "beside its operands");
  EXPECT_EQ(wide[5], 1.0f);
}

}  // namespace
}  // namespace penstock
