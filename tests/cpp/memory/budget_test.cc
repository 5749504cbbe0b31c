#include "memory/budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace penstock {
namespace {

constexpr Place kHost{Tier::host, 0};

TEST(Budget, ChargesAndGivesBack) {
  Budget budget(kHost, 1000);
  EXPECT_EQ(budget.limit(), 1000u);
  EXPECT_EQ(budget.place(), kHost);
  {
    Reservation weights = budget.reserve(600, "weights");
    EXPECT_EQ(weights.bytes(), 600u);
    Reservation pages = budget.reserve(400, "kv pages");
    EXPECT_EQ(budget.used(), 1000u);
    pages.release();
    EXPECT_EQ(pages.bytes(), 0u);
    pages.release();
    EXPECT_EQ(budget.used(), 600u);
  }
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_EQ(budget.peak(), 1000u);
}

TEST(Budget, RefusesWithTheNumbersAndChargesNothing) {
  Budget budget({Tier::device, 1}, 1000);
  Reservation held = budget.reserve(901, "held");
  try {
    budget.reserve(100, "kv pages");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::budget);
    EXPECT_EQ(error.detail().field, "kv pages");
    const std::string text = error.what();
    for (const char* part :
         {"device", "kv pages", "asked 100", "used 901", "limit 1000", "99 bytes"}) {
      EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
    }
  }
  EXPECT_EQ(budget.used(), 901u);
  EXPECT_EQ(budget.peak(), 901u);
  EXPECT_EQ(budget.peak_by_label().count("kv pages"), 0u);
  EXPECT_THROW(budget.reserve(UINT64_MAX, "huge"), Error);
  EXPECT_EQ(budget.reserve(99, "exactly the rest").bytes(), 99u);
}

TEST(Budget, PeaksPerLabel) {
  Budget budget(kHost, 100);
  Reservation a = budget.reserve(30, "a");
  {
    Reservation more = budget.reserve(25, "a");
  }
  Reservation b = budget.reserve(60, "b");
  a.release();
  Reservation again = budget.reserve(40, "a");
  const std::map<std::string, uint64_t> expected{{"a", 55}, {"b", 60}};
  EXPECT_EQ(budget.peak_by_label(), expected);
  EXPECT_EQ(budget.peak(), 100u);
}

TEST(Budget, ReservationsMove) {
  Budget budget(kHost, 100);
  Reservation first = budget.reserve(40, "a");
  Reservation second = std::move(first);
  EXPECT_EQ(budget.used(), 40u);
  Reservation third = budget.reserve(7, "b");
  third = std::move(second);
  EXPECT_EQ(budget.used(), 40u);
  EXPECT_EQ(third.bytes(), 40u);
  third = Reservation();
  EXPECT_EQ(budget.used(), 0u);
}

TEST(Budget, ManyThreadsNeverExceedTheLimit) {
  constexpr uint64_t kLimit = 1000;
  Budget budget(kHost, kLimit);
  std::atomic<uint64_t> held{0}, most{0}, refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t + 1);
      std::vector<Reservation> mine;
      for (int i = 0; i < 5000; ++i) {
        if (!mine.empty() && random() % 2) {
          held -= mine.back().bytes();
          mine.pop_back();
          continue;
        }
        try {
          mine.push_back(budget.reserve(1 + random() % 120, t % 2 ? "odd" : "even"));
        } catch (const Error&) {
          ++refused;
          continue;
        }
        const uint64_t now = held += mine.back().bytes();
        uint64_t seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
      }
      for (const Reservation& reservation : mine) held -= reservation.bytes();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_LE(most.load(), kLimit);
  EXPECT_LE(budget.peak(), kLimit);
  EXPECT_GE(budget.peak(), most.load());
  EXPECT_GT(refused.load(), 0u);
}

}  // namespace
}  // namespace penstock
