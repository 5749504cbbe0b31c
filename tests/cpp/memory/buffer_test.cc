#include "memory/buffer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/error.h"
#include "memory/host_pages.h"

namespace penstock {
namespace {

constexpr Place kHost{Tier::host, 0};

// The kernel's word on whether memory may be read: EFAULT instead of a signal.
bool readable(const std::byte* data) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const bool ok = write(ends[1], data, 1) == 1;
  close(ends[0]);
  close(ends[1]);
  return ok;
}

TEST(Buffer, CallsFreeOnceAndThenGivesBack) {
  Budget budget(kHost, 100);
  std::byte memory[10];
  int freed = 0;
  {
    Buffer first(memory, 10, budget.reserve(10, "x"), [&](std::byte* data, size_t bytes) {
      EXPECT_EQ(data, memory);
      EXPECT_EQ(bytes, 10u);
      EXPECT_EQ(budget.used(), 10u);  // still paid for while it exists
      ++freed;
    });
    Buffer second(std::move(first));
    EXPECT_EQ(first.data(), nullptr);
    EXPECT_EQ(first.bytes(), 0u);
    Buffer third;
    third = std::move(second);
    EXPECT_EQ(third.data(), memory);
    EXPECT_EQ(freed, 0);
  }
  EXPECT_EQ(freed, 1);
  EXPECT_EQ(budget.used(), 0u);
}

TEST(Buffer, AssignmentFreesWhatWasHeld) {
  Budget budget(kHost, 1 << 20);
  Buffer buffer = allocate_host(5000, budget, "a");
  buffer = allocate_host(100, budget, "b");
  EXPECT_EQ(budget.used(), 4096u);
  buffer = Buffer();
  EXPECT_EQ(budget.used(), 0u);
}

TEST(AllocateHost, RoundsUpAndCharges) {
  Budget budget(kHost, 1 << 24);
  for (const size_t bytes :
       {size_t{1}, size_t{4096}, size_t{4097}, kHugePageBytes, kHugePageBytes * 2 + 1}) {
    Buffer buffer = allocate_host(bytes, budget, "pages");
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(budget.used(), whole_pages(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u);
    if (bytes >= kHugePageBytes) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kHugePageBytes, 0u);
    }
    std::memset(buffer.data(), 0x5a, whole_pages(bytes));
    EXPECT_EQ(buffer.data()[bytes - 1], std::byte{0x5a});
  }
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_EQ(budget.peak_by_label().at("pages"), whole_pages(kHugePageBytes * 2 + 1));
}

TEST(AllocateHost, NothingCostsNothing) {
  Budget budget(kHost, 0);
  Buffer buffer = allocate_host(0, budget, "none");
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_EQ(budget.peak(), 0u);
}

TEST(AllocateHost, RefusesOverBudgetByOnePage) {
  Budget budget(kHost, 8192);
  EXPECT_THROW(allocate_host(8193, budget, "too much"), Error);
  EXPECT_EQ(budget.peak(), 0u);
  EXPECT_EQ(allocate_host(8192, budget, "fits").bytes(), 8192u);
}

TEST(AllocateHost, MoreThanTheSystemHasIsABudgetError) {
  Budget budget(kHost, UINT64_MAX);
  for (const size_t bytes : {SIZE_MAX, SIZE_MAX / 2, size_t{1} << 60}) {
    try {
      allocate_host(bytes, budget, "silly");
      FAIL() << bytes;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::budget);
      EXPECT_NE(std::string(error.what()).find("system"), std::string::npos) << error.what();
    }
    EXPECT_EQ(budget.used(), 0u);
  }
}

TEST(AllocateHost, GivesThePagesBackToTheSystem) {
  Budget budget(kHost, 1 << 20);
  const std::byte* where;
  {
    Buffer buffer = allocate_host(1 << 16, budget, "pages");
    where = buffer.data();
    EXPECT_TRUE(readable(where));
  }
  EXPECT_FALSE(readable(where));
}

size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

TEST(AllocateHost, UntouchedPagesAreNotResident) {
  Budget budget(kHost, size_t{1} << 30);
  const size_t before = resident_bytes();
  Buffer buffer = allocate_host(size_t{1} << 29, budget, "pages");
  EXPECT_LT(resident_bytes(), before + (size_t{1} << 27));
}

TEST(HostPages, ProtectionGoesOnAndOff) {
  std::byte* data = map_host_pages(8192);
  data[5000] = std::byte{42};
  protect_host_pages(data, 8192, false);
  EXPECT_FALSE(readable(data + 5000));
  protect_host_pages(data, 8192, true);
  EXPECT_TRUE(readable(data + 5000));
  EXPECT_EQ(data[5000], std::byte{42});
  unmap_host_pages(data, 8192);
  EXPECT_THROW(map_host_pages(100), Error);
  EXPECT_EQ(whole_pages(SIZE_MAX), 0u);
}

}  // namespace
}  // namespace penstock
