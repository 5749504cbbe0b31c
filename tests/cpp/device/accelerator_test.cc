// What every accelerator does: copies that only tickets order, ops in flight that end as if each
// had been waited for, budgets. On the virtual one, and on the test device where there is one.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>

#include "base/error.h"
#include "device/device.h"
#include "device/op_chain.h"
#include "support/test_device.h"

namespace penstock {
namespace {

using Bytes = std::vector<std::byte>;

// A device with lanes and budgets of its own.
struct Bench {
  explicit Bench(const std::string& spec) {
    DeviceOptions options;
    options.spec = spec;
    options.memory = &memory;
    options.device_memory = memory.limit();
    device = open_device(options, lanes, host);
  }

  Ticket copy(const CopyParams& params, std::vector<Ticket> after) {
    return device->copy(params, after);
  }
  Bytes download(const std::byte* from, size_t bytes, std::vector<Ticket> after) {
    Bytes out(bytes);
    device->wait(copy({out.data(), from, bytes, CopyDirection::d2h}, std::move(after)));
    return out;
  }

  Budget host{{Tier::host, 0}, uint64_t{1} << 30};
  Budget memory{{Tier::device, 0}, uint64_t{1} << 30};
  LaneSet lanes;
  std::unique_ptr<Device> device;
};

class Accelerator : public testing::TestWithParam<std::string> {};

TEST_P(Accelerator, SaysWhatItIs) {
  Bench bench(GetParam());
  const DeviceInfo& info = bench.device->info();
  EXPECT_EQ(info.name, device_kind(GetParam()));
  EXPECT_FALSE(info.isa.empty());
  EXPECT_EQ(info.memory, Tier::device);
  EXPECT_GT(info.capacity_bytes, uint64_t{256} << 20);
  for (const LaneKind kind : {LaneKind::compute, LaneKind::h2d, LaneKind::d2h}) {
    EXPECT_TRUE(bench.lanes.is_open({kind, 0}));
  }
}

// More of its own needs than were planned would break a budget.
TEST_P(Accelerator, NeedsWhatItIsSaidToNeed) {
  Bench bench(GetParam());
  EXPECT_EQ(bench.memory.peak(), device_needs(GetParam()).device_bytes);
  EXPECT_GE(bench.host.peak(), device_needs(GetParam()).host_bytes);
  bench.device.reset();
  EXPECT_EQ(bench.memory.used() + bench.host.used(), 0u);
}

TEST_P(Accelerator, TicketsAloneOrderTheLanes) {
  constexpr size_t kBytes = 100003, kSlots = 6, kHops = 200;
  Bench bench(GetParam());
  Buffer block = bench.device->allocate(2 * kSlots * kBytes, bench.memory, "block");
  std::vector<Bytes> in(kHops), out(kHops, Bytes(kBytes));
  std::vector<Ticket> freed(kSlots);
  std::mt19937_64 random(3);
  for (size_t hop = 0; hop < kHops; ++hop) {
    const size_t slot = random() % kSlots;
    std::byte* first = block.data() + slot * kBytes;
    std::byte* second = first + kSlots * kBytes;
    in[hop].assign(kBytes, std::byte(1 + hop % 200));
    in[hop].back() = std::byte(hop % 251);
    const Ticket up =
        bench.copy({first, in[hop].data(), kBytes, CopyDirection::h2d}, {freed[slot]});
    const Ticket move = bench.copy({second, first, kBytes, CopyDirection::within}, {up});
    const Ticket clear = bench.copy({first, nullptr, kBytes, CopyDirection::within}, {move});
    const Ticket down = bench.copy({out[hop].data(), second, kBytes, CopyDirection::d2h}, {move});
    freed[slot] = bench.copy({second, nullptr, kBytes, CopyDirection::within}, {clear, down});
  }
  bench.lanes.wait_all();
  EXPECT_EQ(in, out);
  EXPECT_EQ(bench.lanes.stats({LaneKind::h2d, 0}).bytes, kBytes * kHops);
  EXPECT_EQ(bench.lanes.stats({LaneKind::d2h, 0}).bytes, kBytes * kHops);
}

// Host memory that is the device's own kind, and any other.
TEST_P(Accelerator, CopiesFromAndToItsHostMemory) {
  constexpr size_t kBytes = 3 << 20;
  Bench bench(GetParam());
  Buffer pinned = bench.device->allocate(kBytes, bench.host, "pinned");
  Buffer block = bench.device->allocate(kBytes, bench.memory, "block");
  Bytes plain(kBytes);
  for (size_t i = 0; i < kBytes; ++i) plain[i] = std::byte(i % 253);
  std::copy(plain.begin(), plain.end(), pinned.data());
  const Ticket up = bench.copy({block.data(), pinned.data(), kBytes, CopyDirection::h2d}, {});
  EXPECT_EQ(bench.download(block.data(), kBytes, {up}), plain);
  std::fill_n(pinned.data(), kBytes, std::byte{0});
  bench.device->wait(bench.copy({pinned.data(), block.data(), kBytes, CopyDirection::d2h}, {}));
  EXPECT_EQ(Bytes(pinned.data(), pinned.data() + kBytes), plain);
}

TEST_P(Accelerator, RefusesMoreThanItsBudgetAndThenMoreThanItHas) {
  Bench bench(GetParam());
  const auto refused = [&](size_t bytes, Budget& budget) {
    try {
      bench.device->allocate(bytes, budget, "too much");
    } catch (const Error& error) {
      return error.code() == ErrorCode::budget;
    }
    return false;
  };
  EXPECT_TRUE(refused(bench.memory.limit() + 1, bench.memory));
  const uint64_t before = bench.memory.used();
  const Buffer odd = bench.device->allocate(5001, bench.memory, "odd");
  EXPECT_EQ(bench.memory.used() - before, 8192u) << "memory is planned in whole pages";
  const uint64_t all = bench.device->info().capacity_bytes;
  Budget generous({Tier::device, 0}, 4 * all);
  EXPECT_TRUE(refused(2 * all, generous));
  EXPECT_EQ(generous.used(), 0u);
  EXPECT_EQ(bench.device->allocate(4096, bench.memory, "little").bytes(), 4096u);
}

INSTANTIATE_TEST_SUITE_P(Devices, Accelerator, testing::ValuesIn(test::devices_and({"virtual"})),
                         [](const auto& info) { return device_kind(info.param); });

// ---- ops ---------------------------------------------------------------------------------------

// `rounds` times all ops on one block, in flight together or one by one.
Bytes run_chain(const std::string& spec, OpChain& chain, int rounds, bool one_by_one) {
  Bench bench(spec);
  const size_t bytes = chain.content().size();
  Buffer block = bench.device->allocate(bytes, bench.memory, "block");
  Ticket last = bench.copy({block.data(), chain.content().data(), bytes, CopyDirection::h2d}, {});
  const std::vector<Op> ops = chain.ops(block.data());
  for (int round = 0; round < rounds; ++round) {
    for (const Op& op : ops) {
      last = bench.device->run(op, {&last, 1});
      if (one_by_one) bench.device->wait(last);
    }
  }
  return bench.download(block.data(), bytes, {last});
}

class AcceleratorOps : public testing::TestWithParam<ChainFormats> {};

TEST_P(AcceleratorOps, InFlightTheyEndAsIfEachHadBeenWaitedFor) {
  for (const std::string& device : test::devices_and({"virtual"})) {
    SCOPED_TRACE(device);
    OpChain chain(41, GetParam());
    const Bytes expected = run_chain(device, chain, 6, true);
    EXPECT_NE(expected, chain.content());
    for (int i = 0; i < 3; ++i) EXPECT_EQ(run_chain(device, chain, 6, false), expected);
  }
}

TEST_P(AcceleratorOps, AttendToWhatTheCpuAttendsTo) {
  OpChain chain(43, GetParam());
  const Bytes expected = run_chain("virtual", chain, 1, false);
  for (const std::string& device : test::devices_and({"virtual"})) {
    SCOPED_TRACE(device);
    const Bytes found = run_chain(device, chain, 1, false);
    for (int64_t i = 0; i < OpChain::kRows * OpChain::kDim; ++i) {
      const float wanted = load_as_float(expected.data() + chain.attended(), DType::f32, i);
      const float is = load_as_float(found.data() + chain.attended(), DType::f32, i);
      ASSERT_TRUE(std::isfinite(wanted));
      ASSERT_NEAR(is, wanted, 0.02) << i;  // bf16 ones round queries and weights
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, AcceleratorOps, testing::ValuesIn(kChainFormats));

}  // namespace
}  // namespace penstock
