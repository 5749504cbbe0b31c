// Which tiers requests are dealt to, and where their pages are cut.
#include "engine/kv_dealer.h"

#include <gtest/gtest.h>

#include <random>

namespace penstock {
namespace {

struct Dealt {
  double here = 0, host = 0, disk = 0;
};

Dealt deal(const ResolvedPolicy& policy, const MemoryPlan& memory, int requests) {
  KvDealer dealer(memory, policy, true);
  std::mt19937 random(5);
  Dealt sum;
  for (int i = 0; i < requests; ++i) {
    const int64_t pages = 9 + static_cast<int64_t>(random() % 40);
    const KvHome home = dealer.deal(pages);
    bool possible = false;
    for (const KvHome& one : dealer.possible(pages)) {
      possible |= one.below_pages >= home.below_pages && one.below == home.below;
    }
    EXPECT_TRUE(possible || home.below_pages == 0);
    EXPECT_TRUE(home.below_pages >= pages || home.below_pages % kv_cut_pages(policy) == 0);
    const auto below = static_cast<double>(home.below_of(pages));
    (home.on_disk() ? sum.disk : sum.host) += below;
    sum.here += static_cast<double>(pages) - below;
    dealer.commit(home, pages);
  }
  const double all = sum.here + sum.host + sum.disk;
  return {sum.here / all, sum.host / all, sum.disk / all};
}

TEST(KvDealer, SharesComeOutOverManyRows) {
  for (const bool split : {false, true}) {
    for (const bool hosted : {false, true}) {
      ResolvedPolicy policy;
      policy.kv = {0.5, 0.3, 0.2};
      policy.kv_split = split;
      policy.host_attention = hosted;
      policy.page_tokens = 32;
      policy.max_sequences = 100;
      MemoryPlan memory;
      memory.kv_host_sequences = split ? 60 : 30;
      memory.kv_disk_sequences = split ? 40 : 20;
      const Dealt found = deal(policy, memory, 2000);
      EXPECT_NEAR(found.here, 0.5, 0.02);
      EXPECT_NEAR(found.host, 0.3, 0.02);
      EXPECT_NEAR(found.disk, 0.2, 0.02);
    }
  }
}

TEST(KvDealer, WhoSharesPagesHasThemWhereTheyAre) {
  ResolvedPolicy policy;
  policy.kv = {0.5, 0.5, 0};
  policy.kv_split = policy.host_attention = true;
  policy.max_sequences = 2;
  MemoryPlan memory;
  memory.kv_host_sequences = 2;
  const KvDealer dealer(memory, policy, true);
  const KvHome cut{Tier::host, 8}, here{}, disk{Tier::disk, kAllPages};
  EXPECT_EQ(dealer.join({Tier::host, 16}, cut, 12).below_pages, 8);  // beyond the cut: as there
  EXPECT_EQ(dealer.join({Tier::host, 16}, cut, 5).below_pages, 16);
  EXPECT_EQ(dealer.join(here, cut, 5).below_pages, 8);  // at least to the next cut
  EXPECT_EQ(dealer.join({Tier::host, 16}, here, 3).below_pages, 0);
  EXPECT_EQ(dealer.join({Tier::host, 16}, disk, 3).below, Tier::disk);
  EXPECT_EQ(dealer.join({Tier::host, 16}, cut, 0).below_pages, 16);
}

TEST(KvDealer, WholeRequestsAreDealtInTurn) {
  ResolvedPolicy policy;
  policy.max_sequences = 4;
  MemoryPlan memory;
  memory.kv_host_sequences = 2;
  KvDealer dealer(memory, policy, true);
  for (int i = 0; i < 10; ++i) {
    const KvHome home = dealer.deal(5);
    EXPECT_EQ(home.below_pages, i % 2 == 0 ? 0 : kAllPages) << i;
    EXPECT_EQ(dealer.deal(5).below_pages, home.below_pages) << "dealing alone counts nothing";
    dealer.commit(home, 5);
  }
}

TEST(KvDealer, NothingBelowAndEverythingBelow) {
  ResolvedPolicy policy;
  policy.max_sequences = 3;
  MemoryPlan memory;
  const KvDealer above(memory, policy, true);
  EXPECT_EQ(above.deal(9).below_pages, 0);
  ASSERT_EQ(above.possible(9).size(), 1u);
  EXPECT_EQ(above.possible(9).front().below_pages, 0);
  memory.kv_disk_sequences = 3;
  policy.kv = {0, 0, 1};
  for (const bool split : {false, true}) {
    policy.kv_split = split;
    const KvDealer below(memory, policy, true);
    EXPECT_TRUE(below.deal(9).on_disk());
    EXPECT_EQ(below.deal(9).below_pages, kAllPages);
    ASSERT_EQ(below.possible(9).size(), 1u);
    EXPECT_EQ(below.possible(9).front().below_pages, kAllPages);
  }
}

// What rounding took from one request is given to the next.
TEST(KvDealer, CutsMakeUpForEachOther) {
  ResolvedPolicy policy;
  policy.kv = {0.5, 0.5, 0};
  policy.kv_split = true;
  policy.max_sequences = 2;
  MemoryPlan memory;
  memory.kv_host_sequences = 2;
  KvDealer dealer(memory, policy, true);
  int64_t below = 0;
  for (int i = 1; i <= 20; ++i) {
    const KvHome home = dealer.deal(3);
    below += home.below_of(3);
    dealer.commit(home, 3);
    EXPECT_NEAR(static_cast<double>(below), 1.5 * i, 1) << i;
  }
}

}  // namespace
}  // namespace penstock
