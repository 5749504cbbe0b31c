// Descriptors of micro-batches: token rows, rows of the head, page tables where the pages are, and
// pages that go to disk and come back.
#include "engine/binding.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "tensor/units.h"

namespace penstock {
namespace {

constexpr int kLayers = 2, kPageTokens = 16;

class BindingTest : public ::testing::Test {
 protected:
  static constexpr PageRules kCpu{kPageTokens, false, false};

  KvStoreInput input() {
    KvStoreInput input;
    input.layout = {kv_format("int8"), 2, 16, kPageTokens};
    input.layers = kLayers;
    input.blocks = 60;
    input.disk_bytes = 60 * kIoAlignment;
    input.folder = ::testing::TempDir();
    input.devices = {{device_.get(), &host_}};
    input.host = &host_;
    input.disk = &disk_;
    return input;
  }
  // A sequence with `stored` tokens, which reads `count` more.
  SpanPlan span(KvStore& store, const KvHome& home, int stored, int count) {
    KvSequence& kv = sequences_.emplace_back();
    EXPECT_TRUE(store.open(kv, home, stored + count, {}));
    EXPECT_TRUE(store.grow(kv, stored + count));
    SpanPlan span;
    span.kv = &kv;
    span.position = stored;
    for (int i = 0; i < count; ++i) span.tokens.push_back(100 * (stored + i) + 1);
    return span;
  }
  static SweepPlan sweep_of(std::vector<std::vector<SpanPlan>> batches) {
    SweepPlan sweep;
    for (std::vector<SpanPlan>& spans : batches) {
      BatchPlan& batch = sweep.batches.emplace_back();
      batch.spans = std::move(spans);
      for (const SpanPlan& span : batch.spans) {
        batch.tokens += span.count();
        batch.logits_rows += span.logits_rows();
        batch.score_rows += static_cast<int64_t>(span.targets.size());
      }
    }
    return sweep;
  }
  void run(const std::vector<Transfer>& transfers) { io_.wait(io_.start(transfers)); }

  Budget host_{{Tier::host, 0}, uint64_t{64} << 20};
  Budget disk_{{Tier::disk, 0}, uint64_t{64} << 20};
  LaneSet lanes_;
  std::unique_ptr<Device> device_ = open_device({}, lanes_, host_);
  std::deque<KvSequence> sequences_;
  AsyncIo io_{2};
};

std::vector<std::pair<int64_t, int64_t>> pairs(const std::vector<RowRange>& ranges) {
  std::vector<std::pair<int64_t, int64_t>> all;
  for (const RowRange& range : ranges) all.emplace_back(range.begin, range.end);
  return all;
}
using Pairs = std::vector<std::pair<int64_t, int64_t>>;

TEST_F(BindingTest, TokenRowsOfAllSpansFollowEachOther) {
  KvStore store(input());
  const SweepPlan sweep = sweep_of({{span(store, {}, 30, 1), span(store, {}, 0, 3)}});
  SweepBinding binding(store, kCpu);
  binding.bind(sweep);
  const BatchBinding& batch = binding.batch(0);
  EXPECT_EQ(batch.token_ids, (std::vector<int32_t>{3001, 1, 101, 201}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{30, 0, 1, 2}));
  ASSERT_EQ(batch.layers.size(), 2u);
  for (int layer = 0; layer < kLayers; ++layer) {
    const LayerSpans& spans = batch.layers[layer];
    ASSERT_EQ(spans.append.size(), 2u);
    ASSERT_EQ(spans.attend.size(), 2u);
    EXPECT_TRUE(spans.host_append.empty() && spans.host_attend.empty() && spans.join.empty());
    EXPECT_EQ(spans.attend[1].first_row, 1);
    EXPECT_EQ(spans.attend[1].position, 0);
    EXPECT_EQ(spans.attend[1].count, 3);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(spans.attend[i].pages, sweep.batches[0].spans[i].kv->pages[layer].data());
    }
  }
  EXPECT_TRUE(binding.stored_rows(0).empty());
  EXPECT_THROW(binding.batch(1), std::out_of_range);
}

// Logits rows of all spans first, then score rows; counted over the micro-batches of the sweep.
TEST_F(BindingTest, RowsOfTheHeadArePickedByWhatIsWanted) {
  KvStore store(input());
  SpanPlan all = span(store, {}, 0, 3), token = span(store, {}, 0, 4);
  SpanPlan last = span(store, {}, 9, 1), scored = span(store, {}, 0, 3),
           next = span(store, {}, 4, 1);
  all.want = Want::all;
  token.want = next.want = Want::token;
  last.want = Want::last;
  token.sample.top_k = 5;
  next.sample.top_k = 6;
  scored.targets = {8, 9};
  const SweepPlan sweep = sweep_of({{all, token, last, scored}, {next}});
  SweepBinding binding(store, kCpu);
  binding.bind(sweep);
  const BatchBinding& first = binding.batch(0);
  EXPECT_EQ(first.head_rows, (std::vector<int32_t>{0, 1, 2, 6, 7, 8, 9}));
  EXPECT_EQ(first.targets, (std::vector<int32_t>{8, 9}));
  ASSERT_EQ(first.samples.size(), 1u);
  EXPECT_EQ(first.samples[0].row, 3);
  EXPECT_EQ(first.samples[0].top_k, 5);
  EXPECT_EQ(pairs(first.logits_down), (Pairs{{0, 3}, {4, 5}}));
  EXPECT_EQ(pairs(first.tokens_down), (Pairs{{3, 4}}));
  const BatchBinding& second = binding.batch(1);
  EXPECT_EQ(second.first_head_row, 7);
  EXPECT_EQ(second.first_logits, 5);
  EXPECT_EQ(second.first_score, 2);
  ASSERT_EQ(second.samples.size(), 1u);
  EXPECT_EQ(second.samples[0].row, 0) << "among the logits rows of its own micro-batch";
  EXPECT_EQ(second.samples[0].top_k, 6);
}

TEST_F(BindingTest, PagesOnDiskComeBackAsTheyWere) {
  KvStore store(input());
  const KvHome home{Tier::disk, kAllPages};
  const size_t unit = store.unit_bytes(), page = store.layout().page_bytes();
  // 16 tokens that fill a page, and 4 of the next one.
  SpanPlan first = span(store, home, 0, 20);
  SweepBinding binding(store, kCpu);
  const SweepPlan written = sweep_of({{first}});
  binding.bind(written);
  std::vector<std::byte> slot(2 * unit + kIoAlignment);
  auto* aligned = reinterpret_cast<std::byte*>(
      (reinterpret_cast<uintptr_t>(slot.data()) + kIoAlignment - 1) / kIoAlignment * kIoAlignment);
  EXPECT_TRUE(binding.page_reads(0, 1, aligned).empty()) << "nothing is stored yet";
  binding.place_host_pages(0, 1, aligned);
  std::byte* const* table = binding.batch(0).layers[1].append[0].pages;
  EXPECT_EQ(table[0], first.kv->tails[1]) << "the page that grows is the tail";
  EXPECT_EQ(table[1], aligned + unit);
  std::memset(table[0], 0x11, page);
  std::memset(table[1], 0x22, page);
  const std::vector<Transfer> writes = binding.page_writes(0, 1, aligned);
  ASSERT_EQ(writes.size(), 1u);
  EXPECT_EQ(writes[0].bytes, unit) << "one page got full";
  run(writes);
  binding.keep_tails(0, 1, aligned);
  EXPECT_EQ(first.kv->tails[1][0], std::byte{0x22}) << "what was begun stays in memory";

  SpanPlan second = first;
  second.position = 20;
  second.tokens = {1};
  const SweepPlan read = sweep_of({{second}});
  binding.bind(read);
  std::memset(aligned, 0, 2 * unit);
  const std::vector<Transfer> reads = binding.page_reads(0, 1, aligned);
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_EQ(reads[0].bytes, unit);
  run(reads);
  binding.verify_pages(0, 1, aligned);
  EXPECT_EQ(aligned[0], std::byte{0x11});
  EXPECT_TRUE(binding.page_writes(0, 1, aligned).empty()) << "no page gets full";
  aligned[page / 2] ^= std::byte{1};
  EXPECT_THROW(binding.verify_pages(0, 1, aligned), Error);
}

// Beside an accelerator, with the first page of a sequence below: what the host attends for, what
// comes up, and which rows cross.
TEST_F(BindingTest, PagesBelowAnAccelerator) {
  KvStoreInput books = input();
  books.devices = {};
  books.accelerator = true;
  books.host_blocks = 20;
  KvStore store(books);
  const KvHome cut{Tier::host, 1};
  SpanPlan decoding = span(store, cut, 40, 1), young = span(store, cut, 10, 1);
  SpanPlan prompt = span(store, cut, 0, 20), above = span(store, {}, 5, 1);
  const SweepPlan sweep = sweep_of({{decoding, young, prompt, above}});
  SweepBinding binding(store, {kPageTokens, true, true});
  binding.bind(sweep);
  const LayerSpans& spans = binding.batch(0).layers[0];
  // The host has keys of the first two, and stores for `young` and the first page of the prompt.
  ASSERT_EQ(spans.host_attend.size(), 2u);
  EXPECT_TRUE(spans.host_attend[0].partial);
  EXPECT_EQ(spans.host_attend[0].key_end, 16);
  EXPECT_FALSE(spans.host_attend[1].partial) << "all its keys are there";
  ASSERT_EQ(spans.host_append.size(), 2u);
  EXPECT_EQ(spans.host_append[0].first_row, 1);
  EXPECT_EQ(spans.host_append[1].first_row, 2);
  ASSERT_EQ(spans.join.size(), 1u);
  EXPECT_TRUE(spans.join[0].resume);
  EXPECT_EQ(spans.join[0].key_begin, 16);
  EXPECT_EQ(spans.attend.size(), 2u) << "the prompt, and who has nothing below";
  EXPECT_EQ(pairs(binding.stored_rows(0)), (Pairs{{1, 18}}));
  EXPECT_EQ(pairs(binding.hosted_rows(0, false)), (Pairs{{0, 2}}));
  EXPECT_EQ(pairs(binding.hosted_rows(0, true)), (Pairs{{0, 1}}));
  EXPECT_TRUE(binding.page_uploads(0, 0, nullptr, nullptr).empty())
      << "the prompt has stored nothing, and the others bring nothing up";
}

// Without host attention a decoding request's pages come up: those on disk from their slot.
TEST_F(BindingTest, PagesComeUpFromTheSlotAndTheTail) {
  KvStore store(input());
  SpanPlan decoding = span(store, {Tier::disk, 3}, 40, 1);
  const SweepPlan sweep = sweep_of({{decoding}});
  SweepBinding binding(store, {kPageTokens, true, false});
  binding.bind(sweep);
  const auto stride = static_cast<size_t>(round_up(store.layout().page_bytes(), kLineBytes));
  std::vector<std::byte> from_disk(3 * store.unit_bytes()), device(3 * stride);
  const std::vector<CopyParams> copies =
      binding.page_uploads(0, 0, from_disk.data(), device.data());
  ASSERT_EQ(copies.size(), 3u);
  size_t bytes = 0;
  for (const CopyParams& copy : copies) bytes += copy.bytes;
  EXPECT_EQ(bytes, 3 * store.layout().page_bytes());
  EXPECT_EQ(copies.front().source, from_disk.data());
  EXPECT_EQ(copies.front().destination, device.data());
  const CopyParams& last = copies.back();
  EXPECT_EQ(static_cast<const std::byte*>(last.source) + last.bytes,
            decoding.kv->tails[0] + store.layout().page_bytes())
      << "the page that grows is in host memory";
}

}  // namespace
}  // namespace penstock
