// Pages of a span below the tier where the model computes, against a count token by token; and how
// rows are dealt to tiers.
#include "engine/span_pages.h"

#include <gtest/gtest.h>

#include <random>

#include "engine/kv_dealer.h"

namespace penstock {
namespace {

TEST(SpanPages, AreThoseThatTheirTokensSay) {
  std::mt19937 random(3);
  const auto pick = [&](int count) { return static_cast<int>(random() % count); };
  for (int round = 0; round < 3000; ++round) {
    const int page = 16 << pick(3);
    KvSequence kv;
    kv.home = {pick(2) == 0 ? Tier::host : Tier::disk, pick(12)};
    SpanPlan span;
    span.kv = &kv;
    span.position = pick(300);
    span.tokens.resize(1 + (pick(2) == 0 ? 0 : pick(100)));
    const PageRules rules{page, pick(2) == 0, pick(2) == 0};
    const SpanPages found = span_pages(span, rules);
    const int64_t cut = kv.home.below_pages * page, end = span.position + span.count();
    int64_t below = 0, full = 0, completed = 0, stored = 0, rows = 0;
    for (int64_t first = 0; first < cut; first += page) {
      below += first < end;
      full += first + page <= span.position;
      completed += first + page > span.position && first + page <= end;
      stored += first < span.position;
    }
    for (int64_t t = span.position; t < end; ++t) rows += t < cut;
    ASSERT_EQ(found.below, below);
    ASSERT_EQ(found.full, full);
    ASSERT_EQ(found.completed, completed);
    ASSERT_EQ(found.stored, stored);
    ASSERT_EQ(found.down_rows, rows);
    const bool some = cut > 0, one = span.count() == 1;
    ASSERT_EQ(found.on_disk, some && kv.home.below == Tier::disk);
    ASSERT_EQ(found.hosted, some && rules.accelerator && rules.host_attention && one);
    ASSERT_EQ(found.staged, some && rules.accelerator && !found.hosted);
    ASSERT_EQ(found.whole, found.hosted && end <= cut);
  }
}

struct Dealt {
  double here = 0, host = 0, disk = 0;
};

Dealt deal(const ResolvedPolicy& policy, const MemoryPlan& memory, int rows) {
  KvDealer dealer(memory, policy, true);
  std::mt19937 random(5);
  Dealt sum;
  for (int i = 0; i < rows; ++i) {
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

}  // namespace
}  // namespace penstock
