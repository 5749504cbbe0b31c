#include "device/device.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>

#include "base/error.h"
#include "device/op_chain.h"
#include "device/operands.h"
#include "kernels/cpu/table.h"

namespace penstock {
namespace {

constexpr LaneId kCompute{LaneKind::compute, 0};
constexpr LaneId kH2d{LaneKind::h2d, 0};
constexpr LaneId kD2h{LaneKind::d2h, 0};

// A device with lanes and budgets of its own.
struct Bench {
  explicit Bench(const DeviceOptions& options) : device(open_device(options, lanes, host)) {}

  Buffer allocate(size_t bytes) { return device->allocate(bytes, memory, "block"); }

  Ticket upload(std::byte* to, const void* from, size_t bytes) {
    return device->copy({to, from, bytes, CopyDirection::h2d}, {});
  }

  std::vector<std::byte> download(const std::byte* from, size_t bytes, std::vector<Ticket> after) {
    std::vector<std::byte> out(bytes);
    device->wait(device->copy({out.data(), from, bytes, CopyDirection::d2h}, after));
    return out;
  }

  Budget host{{Tier::host, 0}, uint64_t{1} << 30};
  Budget memory{{Tier::device, 0}, uint64_t{1} << 30};
  LaneSet lanes;
  std::unique_ptr<Device> device;
};

DeviceOptions options_for(std::string spec, int threads = 1) {
  DeviceOptions options;
  options.spec = std::move(spec);
  options.threads = threads;
  options.device_memory = 1 << 24;
  return options;
}

std::string error_of(const std::function<void()>& call, ErrorCode code) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

// The whole block after all ops of the chain.
std::vector<std::byte> run_chain(const DeviceOptions& options, OpChain* chain) {
  Bench bench(options);
  Buffer block = bench.allocate(chain->content().size());
  Ticket last = bench.upload(block.data(), chain->content().data(), block.bytes());
  for (const Op& op : chain->ops(block.data())) last = bench.device->run(op, {&last, 1});
  return bench.download(block.data(), block.bytes(), {last});
}

class ChainOnDevices : public testing::TestWithParam<ChainFormats> {};

TEST_P(ChainOnDevices, VirtualEqualsCpuBitForBit) {
  OpChain chain(17, GetParam());
  const std::vector<std::byte> expected = run_chain(options_for("cpu"), &chain);
  EXPECT_NE(expected, chain.content());
  for (size_t i = 0; i < OpChain::kRows * OpChain::kDim; ++i) {
    ASSERT_TRUE(std::isfinite(load_as_float(expected.data() + chain.attended(), DType::f32, i)));
  }
  for (uint64_t seed = 0; seed < 3; ++seed) {
    DeviceOptions options = options_for("virtual", 1 + static_cast<int>(seed));
    options.delay_seed = seed;
    options.guard_pages = seed == 2;
    EXPECT_EQ(run_chain(options, &chain), expected) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, ChainOnDevices,
                         testing::Values(ChainFormats{"fp32", "fp32", 0},
                                         ChainFormats{"bf16", "bf16", 0},
                                         ChainFormats{"fp16", "fp16", 9},
                                         ChainFormats{"int8", "int8", 0},
                                         ChainFormats{"int4-g64", "int4", 3}));

TEST(Devices, EveryIsaIsTheSameOnBoth) {
  for (const std::string_view isa : supported_isas()) {
    OpChain chain(23, {});
    const std::string name(isa);
    const std::vector<std::byte> expected = run_chain(options_for("cpu:" + name), &chain);
    EXPECT_EQ(run_chain(options_for("virtual:" + name), &chain), expected) << name;
  }
}

TEST(Devices, SayWhatTheyAre) {
  Bench cpu(options_for("cpu:portable", 2));
  EXPECT_EQ(cpu.device->info().name, "cpu");
  EXPECT_EQ(cpu.device->info().isa, "portable");
  EXPECT_EQ(cpu.device->info().memory, Tier::host);
  EXPECT_EQ(cpu.device->info().threads, 2);
  EXPECT_EQ(cpu.device->info().capacity_bytes, 0u);
  EXPECT_EQ(cpu.host.peak_by_label().at("kernel scratch"), 2 * kScratchBytesPerWorker);
  EXPECT_TRUE(cpu.lanes.is_open(kCompute));
  EXPECT_FALSE(cpu.lanes.is_open(kH2d));
  Bench accelerator(options_for("virtual"));
  EXPECT_EQ(accelerator.device->info().name, "virtual");
  EXPECT_EQ(accelerator.device->info().isa, supported_isas().front());
  EXPECT_EQ(accelerator.device->info().host_isa, supported_isas().front());
  EXPECT_EQ(accelerator.device->info().memory, Tier::device);
  EXPECT_EQ(accelerator.device->info().capacity_bytes, uint64_t{1} << 24);
  EXPECT_TRUE(accelerator.lanes.is_open(kH2d));
  EXPECT_TRUE(accelerator.lanes.is_open(kD2h));
}

TEST(Devices, ClosingGivesBackTheScratch) {
  Bench bench(options_for("virtual"));
  EXPECT_EQ(bench.host.used(), kScratchBytesPerWorker);
  bench.device.reset();
  EXPECT_EQ(bench.host.used(), 0u);
}

TEST(Devices, UnknownNamesAreRefusedWithTheKnownOnes) {
  for (const char* spec : {"", "gpu", "cpu:", "cpu:sse9", "virtual:portable:2", "CPU"}) {
    LaneSet lanes;
    Budget host({Tier::host, 0}, 1 << 30);
    const std::string text =
        error_of([&] { open_device(options_for(spec), lanes, host); }, ErrorCode::unsupported);
    for (const char* known : {"cpu, virtual", "cpu:portable", "virtual:portable", "cuda:"}) {
      EXPECT_NE(text.find(known), std::string::npos) << text;
    }
    EXPECT_TRUE(lanes.lanes().empty());
    EXPECT_EQ(host.peak(), 0u);
  }
}

TEST(Devices, ThreadsAndScratchAreRefusedAtOnce) {
  LaneSet lanes;
  Budget host({Tier::host, 0}, kScratchBytesPerWorker);
  error_of([&] { open_device(options_for("cpu", 0), lanes, host); }, ErrorCode::invalid_argument);
  const std::string text =
      error_of([&] { open_device(options_for("virtual", 2), lanes, host); }, ErrorCode::budget);
  EXPECT_NE(text.find("kernel scratch"), std::string::npos);
  EXPECT_TRUE(lanes.lanes().empty());
  EXPECT_EQ(open_device(options_for("cpu", 1), lanes, host)->info().threads, 1);
}

TEST(CpuDevice, CopiesOnItsComputeLane) {
  Bench bench(options_for("cpu"));
  Buffer block = bench.allocate(5000);
  EXPECT_EQ(bench.memory.used(), 8192u);
  std::vector<std::byte> data(5000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = std::byte(i % 251);
  const Ticket up = bench.upload(block.data(), data.data(), 5000);
  EXPECT_EQ(up.lane, kCompute);
  const Ticket shift =
      bench.device->copy({block.data() + 100, block.data(), 4000, CopyDirection::within}, {&up, 1});
  const std::vector<std::byte> out = bench.download(block.data(), 5000, {shift});
  for (size_t i = 0; i < 5000; ++i) {
    ASSERT_EQ(out[i], i < 100 || i >= 4100 ? data[i] : data[i - 100]) << i;
  }
  EXPECT_EQ(bench.lanes.stats(kCompute).bytes, 14000u);
  bench.device->wait(bench.device->copy({block.data(), nullptr, 5000, CopyDirection::within}, {}));
  EXPECT_EQ(std::memcmp(block.data(), out.data(), 5000), 0);
  EXPECT_EQ(bench.lanes.stats(kCompute).bytes, 14000u);
}

TEST(Devices, OnlyACopyWithinHasNoSource) {
  for (const char* spec : {"cpu", "virtual"}) {
    Bench bench(options_for(spec));
    Buffer block = bench.allocate(64);
    error_of([&] { bench.upload(block.data(), nullptr, 64); }, ErrorCode::internal);
  }
}

class VirtualDeviceTest : public testing::Test {
 protected:
  // Waits for the ticket, expects an Error(device) that names the words, and starts over.
  void expect_refused(Ticket ticket, std::initializer_list<const char*> words) {
    const std::string text = error_of([&] { bench_.device->wait(ticket); }, ErrorCode::device);
    for (const char* word : words)
      EXPECT_NE(text.find(word), std::string::npos) << word << " in " << text;
    bench_.lanes.recover();
  }

  Bench bench_{options_for("virtual")};
};

TEST_F(VirtualDeviceTest, CountsTheBytesOfEachLink) {
  Buffer block = bench_.allocate(10000);
  std::vector<std::byte> data(10000, std::byte{7});
  uint64_t up = 0;
  std::vector<Ticket> tickets;
  for (size_t bytes = 1; bytes < 10000; bytes = bytes * 3 + 1) {
    tickets.push_back(bench_.upload(block.data(), data.data(), bytes));
    up += bytes;
  }
  EXPECT_EQ(bench_.download(block.data(), 777, tickets), std::vector<std::byte>(777, std::byte{7}));
  const Ticket within =
      bench_.device->copy({block.data(), block.data() + 5000, 33, CopyDirection::within}, {});
  bench_.device->wait(within);
  EXPECT_EQ(bench_.lanes.stats(kH2d).bytes, up);
  EXPECT_EQ(bench_.lanes.stats(kH2d).tasks, tickets.size());
  EXPECT_EQ(bench_.lanes.stats(kD2h).bytes, 777u);
  EXPECT_EQ(bench_.lanes.stats(kCompute).bytes, 33u);
}

TEST_F(VirtualDeviceTest, PoisonIsSeenByWhoeverReadsNext) {
  OpChain chain(5, {});
  Buffer block = bench_.allocate(chain.content().size());
  Ticket last = bench_.upload(block.data(), chain.content().data(), block.bytes());
  last = bench_.device->copy(
      {block.data() + chain.embedding(), nullptr, chain.embedding_bytes(), CopyDirection::within},
      {&last, 1});
  for (const Op& op : chain.ops(block.data())) last = bench_.device->run(op, {&last, 1});
  const std::vector<std::byte> out = bench_.download(block.data(), block.bytes(), {last});
  int nans = 0;
  for (size_t i = 0; i < OpChain::kRows * OpChain::kDim; ++i) {
    nans += std::isnan(load_as_float(out.data() + chain.attended(), DType::f32, i));
  }
  EXPECT_EQ(nans, OpChain::kRows * OpChain::kDim);
  EXPECT_EQ(bench_.lanes.stats(kCompute).bytes, 0u);
}

TEST_F(VirtualDeviceTest, FreshMemoryIsPoison) {
  Buffer block = bench_.allocate(5000);
  EXPECT_EQ(bench_.download(block.data(), 5000, {}), std::vector<std::byte>(5000, std::byte{0xff}));
}

TEST_F(VirtualDeviceTest, CopiesStayOnTheirSides) {
  Buffer block = bench_.allocate(4096);
  std::vector<std::byte> host(8192, std::byte{1});
  const auto copy = [&](void* to, const void* from, size_t bytes, CopyDirection direction) {
    return bench_.device->copy({to, from, bytes, direction}, {});
  };
  expect_refused(copy(host.data(), host.data() + 4096, 64, CopyDirection::h2d),
                 {"h2d", "destination", "64 bytes"});
  expect_refused(copy(block.data(), block.data() + 64, 64, CopyDirection::h2d), {"h2d", "source"});
  expect_refused(copy(block.data() + 4000, host.data(), 4097, CopyDirection::h2d),
                 {"h2d", "destination"});
  expect_refused(copy(block.data(), block.data() + 64, 64, CopyDirection::d2h),
                 {"d2h", "destination"});
  expect_refused(copy(host.data(), host.data() + 64, 64, CopyDirection::d2h), {"d2h", "source"});
  expect_refused(copy(block.data(), host.data(), 64, CopyDirection::within), {"copy", "source"});
  expect_refused(copy(host.data(), block.data(), 64, CopyDirection::within),
                 {"copy", "destination"});
  expect_refused(copy(host.data(), nullptr, 64, CopyDirection::within), {"poison", "destination"});
  for (const LaneId id : {kH2d, kD2h, kCompute}) EXPECT_EQ(bench_.lanes.stats(id).bytes, 0u);
  EXPECT_EQ(host, std::vector<std::byte>(8192, std::byte{1}));
}

// Moves each operand of each op out of the device's memory in turn, by leaving a hole in the block
// where it lies.
TEST_F(VirtualDeviceTest, HostMemoryIsRefusedByEveryOp) {
  OpChain chain(9, {"int8", "int8", 0});
  std::vector<std::byte> host_block(chain.content());
  for (const Op& op : chain.ops(host_block.data())) {
    expect_refused(bench_.device->run(op, {}), {op_name(op), operands(op).front().name});
  }
  EXPECT_EQ(host_block, chain.content());  // refused before anything ran
}

TEST_F(VirtualDeviceTest, OneOperandOutsideIsEnough) {
  OpChain chain(9, {});
  Buffer block = bench_.allocate(chain.content().size());
  bench_.device->wait(bench_.upload(block.data(), chain.content().data(), block.bytes()));
  std::vector<Op> ops = chain.ops(block.data());
  std::vector<float> host(10000, 1.0f);
  NormParams norm = std::get<NormParams>(ops[1]);
  norm.weight = host.data();
  expect_refused(bench_.device->run(norm, {}), {"norm", "weight"});
  norm = std::get<NormParams>(ops[1]);
  norm.y = host.data();
  expect_refused(bench_.device->run(norm, {}), {"norm", "'y'"});
  norm = std::get<NormParams>(ops[1]);
  norm.x_stride = 1 << 20;  // begins inside and ends outside
  expect_refused(bench_.device->run(norm, {}), {"norm", "'x'"});
  AttentionParams attention = std::get<AttentionParams>(ops[4]);
  std::vector<std::byte> page(attention.layout.page_bytes());
  std::byte* pages[] = {attention.spans[0].pages[0], page.data()};
  const SpanView spans[] = {{0, 30, 3, pages}};
  attention.spans = spans;
  attention.span_count = 1;
  expect_refused(bench_.device->run(attention, {}), {"attention", "page"});
  bench_.device->wait(bench_.device->run(ops[1], {}));
}

TEST_F(VirtualDeviceTest, FreedMemoryIsOutside) {
  std::vector<std::byte> host(64);
  std::byte* stale;
  {
    Buffer block = bench_.allocate(64);
    stale = block.data();
    bench_.device->wait(bench_.upload(stale, host.data(), 64));
  }
  expect_refused(bench_.upload(stale, host.data(), 64), {"destination"});
}

TEST_F(VirtualDeviceTest, RefusesMoreThanItsCapacity) {
  Buffer most = bench_.allocate((1 << 24) - 4096);
  const std::string text = error_of([&] { bench_.allocate(4097); }, ErrorCode::budget);
  for (const char* part : {"asked 8192", "used 16773120", "capacity 16777216"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  EXPECT_EQ(bench_.allocate(4096).bytes(), 4096u);
}

TEST(VirtualDevice, GuardPagesKeepTheHostOutBetweenSteps) {
  DeviceOptions options = options_for("virtual");
  options.guard_pages = true;
  Bench bench(options);
  Buffer block = bench.allocate(4096);
  std::vector<std::byte> data(4096, std::byte{3});
  bench.device->wait(bench.upload(block.data(), data.data(), 4096));
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_EQ(write(ends[1], block.data(), 1), -1);  // EFAULT instead of a signal
  EXPECT_EQ(errno, EFAULT);
  close(ends[0]);
  close(ends[1]);
  EXPECT_EQ(bench.download(block.data(), 4096, {}), data);
}

TEST(VirtualDevice, IsNeverFasterThanItsModel) {
  DeviceOptions options = options_for("virtual");
  options.h2d_bytes_per_second = 1e6;
  options.d2h_bytes_per_second = 2e6;
  OpChain chain(3, {});
  Bench bench(options);
  Buffer block = bench.allocate(chain.content().size());
  bench.device->wait(bench.upload(block.data(), chain.content().data(), block.bytes()));
  EXPECT_GE(bench.lanes.stats(kH2d).busy_seconds, static_cast<double>(block.bytes()) / 1e6);
  bench.download(block.data(), block.bytes(), {});
  EXPECT_GE(bench.lanes.stats(kD2h).busy_seconds, static_cast<double>(block.bytes()) / 2e6);

  options.h2d_bytes_per_second = options.d2h_bytes_per_second = 0;
  options.flops_per_second = 1e7;
  options.attention_bytes_per_second = 1e5;
  Bench slow(options);
  Buffer other = slow.allocate(chain.content().size());
  slow.device->wait(slow.upload(other.data(), chain.content().data(), other.bytes()));
  double flops = 0;
  Ticket last;
  for (const Op& op : chain.ops(other.data())) {
    flops += op_flops(op);
    last = slow.device->run(op, {});
  }
  AttentionParams decode = std::get<AttentionParams>(chain.ops(other.data())[4]);
  SpanView row{0, 34, 1, decode.spans[0].pages};
  decode.spans = &row;
  decode.span_count = 1;
  const double decode_bytes = decode_attention(decode).bytes;
  last = slow.device->run(decode, {&last, 1});
  slow.device->wait(last);
  EXPECT_GT(flops, 1e5);
  EXPECT_GT(decode_bytes, 0);
  EXPECT_GE(slow.lanes.stats(kCompute).busy_seconds, flops / 1e7 + decode_bytes / 1e5);
}

TEST(VirtualDevice, ClosingWaitsForItsWork) {
  std::vector<std::byte> data(1 << 16, std::byte{5}), out(1 << 16);
  DeviceOptions options = options_for("virtual");
  options.delay_seed = 11;
  Bench bench(options);
  Buffer block = bench.allocate(data.size());
  Ticket last = bench.upload(block.data(), data.data(), data.size());
  for (int i = 0; i < 20; ++i) {
    last = bench.device->copy({block.data(), block.data() + 4096, 4096, CopyDirection::within},
                              {&last, 1});
  }
  bench.device->copy({out.data(), block.data(), out.size(), CopyDirection::d2h}, {&last, 1});
  std::byte* kept = block.data();
  EXPECT_NE(kept, nullptr);
  Budget& memory = bench.memory;
  EXPECT_GT(memory.used(), 0u);
  bench.lanes.wait_all();
  block = Buffer();
  bench.device.reset();
  EXPECT_EQ(out, data);
  EXPECT_EQ(memory.used(), 0u);
}

// Data hops host -> device -> device -> host through random slots while every lane has random
// delays: only the tickets order it.
TEST(VirtualDevice, TicketsAloneOrderTheLanes) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    DeviceOptions options = options_for("virtual");
    options.delay_seed = seed;
    Bench bench(options);
    constexpr size_t kBytes = 512, kSlots = 6, kHops = 120;
    Buffer block = bench.allocate(2 * kSlots * kBytes);
    std::vector<std::vector<std::byte>> in(kHops), out(kHops, std::vector<std::byte>(kBytes));
    std::vector<Ticket> freed(kSlots);
    std::mt19937_64 random(seed);
    for (size_t hop = 0; hop < kHops; ++hop) {
      const size_t slot = random() % kSlots;
      std::byte* first = block.data() + slot * kBytes;
      std::byte* second = first + kSlots * kBytes;
      in[hop].assign(kBytes, std::byte(1 + hop % 200));
      const Ticket up = bench.device->copy({first, in[hop].data(), kBytes, CopyDirection::h2d},
                                           {&freed[slot], 1});
      const Ticket move =
          bench.device->copy({second, first, kBytes, CopyDirection::within}, {&up, 1});
      const Ticket clear =
          bench.device->copy({first, nullptr, kBytes, CopyDirection::within}, {&move, 1});
      const Ticket down =
          bench.device->copy({out[hop].data(), second, kBytes, CopyDirection::d2h}, {&move, 1});
      const Ticket both[] = {clear, down};
      freed[slot] = bench.device->copy({second, nullptr, kBytes, CopyDirection::within}, both);
    }
    bench.lanes.wait_all();
    EXPECT_EQ(in, out) << "seed " << seed;
    EXPECT_EQ(bench.lanes.stats(kH2d).bytes, kBytes * kHops);
  }
}

}  // namespace
}  // namespace penstock
