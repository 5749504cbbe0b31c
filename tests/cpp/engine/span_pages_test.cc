// Pages of a span below the tier where the model computes, against a count token by token.
#include "engine/span_pages.h"

#include <gtest/gtest.h>

#include <random>

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

}  // namespace
}  // namespace penstock
