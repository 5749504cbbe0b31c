#include "device/virtual/virtual_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tensor/dtype.h"

namespace penstock {
namespace {

constexpr Place kDevice{Tier::device, 0};

// The kernel's word on whether memory may be read: EFAULT instead of a signal.
bool readable(const std::byte* data) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const bool ok = write(ends[1], data, 1) == 1;
  close(ends[0]);
  close(ends[1]);
  return ok;
}

TEST(VirtualMemory, FreshMemoryIsNaNInEveryType) {
  VirtualMemory memory(1 << 20, false);
  Budget budget(kDevice, 1 << 20);
  Buffer buffer = memory.allocate(10000, budget, "slots");
  for (size_t i = 0; i < 10000 / 4; ++i) {
    EXPECT_TRUE(std::isnan(load_as_float(buffer.data(), DType::f32, i)));
    EXPECT_TRUE(std::isnan(load_as_float(buffer.data(), DType::f16, i)));
    EXPECT_TRUE(std::isnan(load_as_float(buffer.data(), DType::bf16, i)));
  }
}

TEST(VirtualMemory, KnowsItsLiveRanges) {
  VirtualMemory memory(1 << 20, false);
  Budget budget(kDevice, 1 << 20);
  std::byte host[100];
  EXPECT_FALSE(memory.contains(host, 1));
  EXPECT_TRUE(memory.avoids(host, 100));
  std::byte* data;
  {
    Buffer other = memory.allocate(4096, budget, "other");
    Buffer buffer = memory.allocate(8192, budget, "slots");
    data = buffer.data();
    EXPECT_TRUE(memory.contains(data, 8192));
    EXPECT_TRUE(memory.contains(data + 8191, 1));
    EXPECT_FALSE(memory.contains(data + 8192, 4096 * 2));
    EXPECT_FALSE(memory.contains(data, SIZE_MAX));
    EXPECT_FALSE(memory.contains(nullptr, 1));
    EXPECT_FALSE(memory.contains(host, 1));
    EXPECT_FALSE(memory.avoids(data + 4000, 10));
    EXPECT_FALSE(memory.avoids(data - 10, 11));
    EXPECT_FALSE(memory.avoids(data - 10, SIZE_MAX / 2));
    EXPECT_FALSE(memory.avoids(data + 8191, 100));
    EXPECT_FALSE(memory.avoids(host, SIZE_MAX));  // wraps around
    EXPECT_TRUE(memory.avoids(host, 100));
  }
  EXPECT_FALSE(memory.contains(data, 1));
  EXPECT_TRUE(memory.avoids(data, 8192));
}

TEST(VirtualMemory, RefusesMoreThanItsCapacityWithTheNumbers) {
  VirtualMemory memory(3 * 4096, false);
  Budget budget(kDevice, 1 << 20);
  std::optional<Buffer> held(memory.allocate(4097, budget, "held"));
  EXPECT_EQ(budget.used(), 8192u);
  try {
    memory.allocate(4097, budget, "kv pages");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::budget);
    const std::string text = error.what();
    for (const char* part :
         {"kv pages", "asked 8192", "used 8192", "capacity 12288", "4096 bytes"}) {
      EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
    }
  }
  EXPECT_THROW(memory.allocate(SIZE_MAX, budget, "silly"), Error);
  EXPECT_EQ(budget.used(), 8192u);
  Buffer rest = memory.allocate(4096, budget, "rest");
  held.reset();
  EXPECT_EQ(budget.used(), 4096u);
  Buffer again = memory.allocate(8192, budget, "again");
  EXPECT_EQ(budget.used(), 12288u);
}

TEST(VirtualMemory, RefusesMoreThanTheBudgetAndStaysUsable) {
  VirtualMemory memory(1 << 20, false);
  Budget budget(kDevice, 8192);
  EXPECT_THROW(memory.allocate(8193, budget, "too much"), Error);
  EXPECT_EQ(memory.allocate(8192, budget, "fits").bytes(), 8192u);
  EXPECT_EQ(memory.allocate(0, budget, "none").data(), nullptr);
  EXPECT_EQ(budget.peak(), 8192u);
}

TEST(VirtualMemory, GuardPagesKeepTheHostOut) {
  VirtualMemory memory(1 << 20, true);
  Budget budget(kDevice, 1 << 20);
  Buffer before = memory.allocate(4096, budget, "before");
  EXPECT_FALSE(readable(before.data()));
  {
    const VirtualMemory::Step outer(memory);
    EXPECT_TRUE(readable(before.data()));
    {
      const VirtualMemory::Step inner(memory);
      EXPECT_TRUE(readable(before.data()));
    }
    EXPECT_TRUE(readable(before.data()));
    Buffer during = memory.allocate(4096, budget, "during");
    EXPECT_TRUE(readable(during.data()));
  }
  EXPECT_FALSE(readable(before.data()));
}

TEST(VirtualMemory, ThreadsAllocateAndFree) {
  VirtualMemory memory(64 * 4096, true);
  Budget budget(kDevice, 64 * 4096);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        Buffer buffer = memory.allocate(4096 * (1 + (t + i) % 16), budget, "piece");
        const VirtualMemory::Step step(memory);
        ASSERT_TRUE(memory.contains(buffer.data(), buffer.bytes()));
        std::memset(buffer.data(), t, buffer.bytes());
        ASSERT_EQ(buffer.data()[buffer.bytes() - 1], std::byte(t));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_EQ(memory.allocate(64 * 4096, budget, "all").bytes(), 64u * 4096);
}

}  // namespace
}  // namespace penstock
