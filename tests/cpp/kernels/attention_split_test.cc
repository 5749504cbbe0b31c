// Attention over parts of the keys, each part in memory of its own, gives the bits of attention
// over all of them; appending to a part writes what appending to the whole writes there.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "kernels/attention_cases.h"
#include "support/kernels.h"

namespace penstock {
namespace {

using test::Case;
using test::Data;
using test::Pages;
using test::Random;
using test::TestContext;

constexpr std::string_view kFormats[] = {"fp32", "fp16", "bf16", "int8", "int4"};

struct Piece {
  int sequence, position, count;
};

struct Part {
  int32_t begin = 0, end = INT32_MAX;
};

int longest(const Case& c) { return *std::max_element(c.lengths.begin(), c.lengths.end()); }

// The keys and values of one part of every sequence, in pages of their own; there is no page
// without a key of the part.
class Held {
 public:
  Held(const test::Kernels& on, const Data& data, Part part)
      : part_(part), pages_(data.layout, static_cast<int>(data.c.lengths.size()), longest(data.c)) {
    const int page = data.layout.page_tokens;
    std::vector<SpanView> spans;
    for (size_t s = 0; s < data.c.lengths.size(); ++s) {
      std::byte* const* all = pages_.of(static_cast<int>(s));
      tables_.emplace_back();
      for (int first = 0; first < longest(data.c); first += page) {
        const bool inside = first + page > part.begin && first < part.end;
        tables_.back().push_back(inside ? all[first / page] : nullptr);
      }
    }
    for (size_t s = 0; s < data.c.lengths.size(); ++s) {
      spans.push_back(
          view(static_cast<int32_t>(data.firsts[s]), {static_cast<int>(s), 0, data.c.lengths[s]}));
    }
    on.table.kv_append({data.layout, spans.data(), static_cast<int32_t>(spans.size()),
                        data.k.data(), data.kv_width(), data.v.data(), data.kv_width()},
                       on.context);
  }

  SpanView view(int32_t row, const Piece& piece) const {
    return {row,         piece.position,
            piece.count, tables_[static_cast<size_t>(piece.sequence)].data(),
            part_.begin, part_.end};
  }

 private:
  Part part_;
  Pages pages_;
  std::vector<std::vector<std::byte*>> tables_;
};

// The queries of a micro-batch, and what attention has left of it.
struct Batch {
  Batch(const Data& data, std::vector<Piece> wanted)
      : data(data), pieces(std::move(wanted)), stride(data.q_width() + 3) {
    for (const Piece& piece : pieces) {
      const int64_t first = data.firsts[static_cast<size_t>(piece.sequence)] + piece.position;
      q.insert(q.end(), data.q.begin() + first * data.q_width(),
               data.q.begin() + (first + piece.count) * data.q_width());
      rows += piece.count;
    }
    out.assign(static_cast<size_t>(rows * stride), NAN);
    states.assign(static_cast<size_t>(rows * data.c.heads), {NAN, NAN});
  }

  std::vector<SpanView> spans(const Held& held) const {
    std::vector<SpanView> made;
    int32_t row = 0;
    for (const Piece& piece : pieces) {
      made.push_back(held.view(row, piece));
      row += piece.count;
    }
    return made;
  }

  void attend(const test::Kernels& on, const std::vector<SpanView>& views) {
    AttentionParams p;
    p.layout = data.layout;
    p.spans = views.data();
    p.span_count = static_cast<int32_t>(views.size());
    p.q = q.data();
    p.q_stride = data.q_width();
    p.heads = data.c.heads;
    p.scale = 1.0f / std::sqrt(static_cast<float>(data.c.head_dim));
    p.window = data.c.window;
    p.out = out.data();
    p.out_stride = stride;
    p.states = states.data();
    on.table.attention(p, on.context);
  }

  void same_as(const Batch& other) const {
    test::expect_same_bits(out.data(), other.out.data(), static_cast<int64_t>(out.size()), "out");
  }

  const Data& data;
  std::vector<Piece> pieces;
  int64_t stride, rows = 0;
  std::vector<float> q, out;
  std::vector<AttentionState> states;
};

Batch whole(const test::Kernels& on, const Data& data, const std::vector<Piece>& pieces) {
  Batch batch(data, pieces);
  batch.states.clear();  // nobody needs them
  const Held held(on, data, {});
  batch.attend(on, batch.spans(held));
  return batch;
}

// Part after part, cut at `cuts`; output and states move to other memory in between.
Batch in_parts(const test::Kernels& on, const Data& data, const std::vector<Piece>& pieces,
               const std::vector<int32_t>& cuts) {
  Batch before(data, pieces);
  for (size_t i = 0; i <= cuts.size(); ++i) {
    const Held held(on, data, {i == 0 ? 0 : cuts[i - 1], i == cuts.size() ? INT32_MAX : cuts[i]});
    Batch batch(data, pieces);
    if (i > 0) batch.out = before.out;
    if (i > 0) batch.states = before.states;
    std::vector<SpanView> spans = batch.spans(held);
    for (SpanView& span : spans) {
      span.resume = i > 0;
      span.partial = i < cuts.size();
    }
    batch.attend(on, spans);
    before.out = batch.out;
    before.states = batch.states;
  }
  return before;
}

TEST(AttentionParts, EveryCutGivesTheBitsOfTheWhole) {
  const TestContext context(2);
  const std::vector<Piece> pieces = {{0, 1000, 1}, {0, 255, 1},   {1, 256, 1},
                                     {0, 257, 1},  {0, 200, 130}, {1, 500, 30}};
  for (const std::string_view format : kFormats) {
    SCOPED_TRACE(std::string(format));
    for (const int window : {0, 300}) {
      const Data data({format, 6, 2, 40, 32, window, {1001, 530}});
      test::for_each_isa([&](const KernelTable& table) {
        const test::Kernels on{table, context};
        const Batch expected = whole(on, data, pieces);
        for (const int32_t cut : {0, 256, 512, 768, 1024}) {
          if (table.isa == "cuda" && cut != 512) continue;  // the emulator takes long
          SCOPED_TRACE(testing::Message() << "window " << window << " cut " << cut);
          in_parts(on, data, pieces, {cut}).same_as(expected);
        }
        in_parts(on, data, pieces, {256, 768}).same_as(expected);
        in_parts(on, data, pieces, {256, 512, 512, 768}).same_as(expected);
      });
    }
  }
}

// With more workers than heads, sequences are cut between them: few rows and many, windows, keys in
// parts, and outputs so wide that there is no room for the results of segments.
TEST(AttentionParts, WorkersThatShareALongSequenceGiveTheBitsOfOne) {
  const TestContext one(1), two(2), many(9);
  const std::vector<Piece> pieces = {{0, 2999, 1}, {1, 50, 1}, {0, 2900, 40}, {2, 1600, 3}};
  for (const std::string_view format : kFormats) {
    for (const auto& [heads, dim, window] : {std::array{4, 64, 0}, {1, 96, 1500}, {12, 520, 0}}) {
      SCOPED_TRACE(testing::Message() << format << " head_dim " << dim << " window " << window);
      const Data data({format, heads, 1, dim, 32, window, {3000, 51, 1700}});
      for (const std::string_view isa : supported_isas()) {
        SCOPED_TRACE(std::string(isa));
        const KernelTable& table = kernel_table(isa);
        const Batch expected = whole({table, one}, data, pieces);
        whole({table, two}, data, pieces).same_as(expected);
        whole({table, many}, data, pieces).same_as(expected);
        in_parts({table, many}, data, pieces, {1536}).same_as(expected);
      }
    }
  }
}

Case random_case(Random& random, std::string_view format) {
  constexpr int kDims[] = {7, 16, 20, 24, 40, 64, 80, 96}, kPages[] = {16, 32, 64};
  Case c;
  c.format = format;
  c.kv_heads = 1 + static_cast<int>(random.below(3));
  c.heads = c.kv_heads * (1 + static_cast<int>(random.below(4)));
  c.head_dim = kDims[random.below(8)];
  c.page_tokens = kPages[random.below(3)];
  c.window = random.below(2) ? 0 : 1 + static_cast<int>(random.below(700));
  c.lengths.clear();
  for (int64_t s = 1 + random.below(2); s > 0; --s) {
    c.lengths.push_back(100 + static_cast<int>(random.below(1000)));
  }
  return c;
}

std::vector<Piece> random_pieces(Random& random, const Case& c) {
  constexpr int kCounts[] = {1, 1, 1, 3, 50};
  std::vector<Piece> pieces;
  for (int64_t i = 1 + random.below(4); i > 0; --i) {
    const int64_t sequence = random.below(static_cast<int64_t>(c.lengths.size()));
    const int length = c.lengths[static_cast<size_t>(sequence)];
    const int position = static_cast<int>(random.below(length));
    pieces.push_back({static_cast<int>(sequence), position,
                      std::min(length - position, kCounts[random.below(5)])});
  }
  return pieces;
}

TEST(AttentionParts, RandomShapesAndCutsGiveTheBitsOfTheWhole) {
  const TestContext context(2);
  for (const std::string_view format : kFormats) {
    for (uint64_t seed = 0; seed < 12; ++seed) {
      SCOPED_TRACE(testing::Message() << format << " seed " << seed);
      Random random(seed);
      const Data data(random_case(random, format));
      const std::vector<Piece> pieces = random_pieces(random, data.c);
      std::vector<int32_t> cuts;
      for (int32_t cut = 0; cut <= 1024; cut += kAttentionSegment) {
        if (random.below(2)) cuts.push_back(cut);
      }
      test::for_each_isa([&](const KernelTable& table) {
        const test::Kernels on{table, context};
        in_parts(on, data, pieces, cuts).same_as(whole(on, data, pieces));
      });
    }
  }
}

// In one call: a sequence whose first part is elsewhere, one that hands on, one that is whole.
TEST(AttentionParts, SpansOfOneBatchAreCutAsTheyLike) {
  const TestContext context(2);
  const Data data({"bf16", 4, 2, 64, 32, 0, {700, 600, 400}});
  const std::vector<Piece> pieces = {{0, 699, 1}, {1, 580, 20}, {2, 399, 1}};
  test::for_each_isa([&](const KernelTable& table) {
    const test::Kernels on{table, context};
    const Held all(on, data, {}), low(on, data, {0, 512}), high(on, data, {512, INT32_MAX});
    Batch batch(data, pieces);
    std::vector<SpanView> first = {batch.spans(low)[0]};
    first[0].partial = true;
    batch.attend(on, first);
    std::vector<SpanView> second = {batch.spans(high)[0], batch.spans(low)[1], batch.spans(all)[2]};
    second[0].resume = true;
    second[1].partial = true;
    batch.attend(on, second);
    std::vector<SpanView> third = {batch.spans(high)[1]};
    third[0].resume = true;
    batch.attend(on, third);
    batch.same_as(whole(on, data, pieces));
  });
}

// Calls the part before the window of the only row: it has no key for it.
void attend_nothing(const test::Kernels& on, Batch& batch, bool resume, bool partial) {
  const Held held(on, batch.data, {0, 256});
  std::vector<SpanView> spans = batch.spans(held);
  spans[0].resume = resume;
  spans[0].partial = partial;
  batch.attend(on, spans);
}

TEST(AttentionParts, RowsWithoutKeysHandOnWhatTheyGot) {
  const TestContext context(1);
  for (const int dim : {20, 64}) {
    const Data data({"fp32", 2, 2, dim, 32, 50, {400}});
    test::for_each_isa([&](const KernelTable& table) {
      const test::Kernels on{table, context};
      Batch batch(data, {{0, 399, 1}});
      attend_nothing(on, batch, false, true);
      for (int64_t i = 0; i < data.q_width(); ++i) {
        EXPECT_EQ(batch.out[static_cast<size_t>(i)], 0.0f);
        EXPECT_FALSE(std::signbit(batch.out[static_cast<size_t>(i)]));
      }
      for (const AttentionState& state : batch.states) {
        EXPECT_EQ(state.max, -INFINITY);
        EXPECT_EQ(state.sum, 0.0f);
      }
      for (int64_t i = 0; i < data.q_width(); ++i) {
        batch.out[static_cast<size_t>(i)] = 0.25f * static_cast<float>(i + 1);
      }
      batch.states = {{1.5f, 2.0f}, {-3.0f, 4.0f}};
      const Batch given = batch;
      attend_nothing(on, batch, true, true);
      batch.same_as(given);
      EXPECT_EQ(std::memcmp(batch.states.data(), given.states.data(), 2 * sizeof(AttentionState)),
                0);
      attend_nothing(on, batch, true, false);
      for (int64_t i = 0; i < data.q_width(); ++i) {
        EXPECT_EQ(batch.out[static_cast<size_t>(i)],
                  given.out[static_cast<size_t>(i)] / (i < dim ? 2.0f : 4.0f));
      }
    });
  }
}

// Rows [0, count) of a sequence in chunks, those in the part; every page is there to be looked at.
void append_chunks(const test::Kernels& on, const Data& data, const Pages& pages, Part part) {
  constexpr int kChunk = 27;
  for (int at = 0; at < data.c.lengths[0]; at += kChunk) {
    const SpanView span{0,           at,         std::min(kChunk, data.c.lengths[0] - at),
                        pages.of(0), part.begin, part.end};
    on.table.kv_append({data.layout, &span, 1, data.k.data() + at * data.kv_width(),
                        data.kv_width(), data.v.data() + at * data.kv_width(), data.kv_width()},
                       on.context);
  }
}

TEST(KvAppendParts, WritesWhatTheWholeWritesThereAndNothingElse) {
  const TestContext context(2);
  constexpr int kTokens = 150, kPage = 32, kPages = 5;
  for (const std::string_view format : kFormats) {
    SCOPED_TRACE(std::string(format));
    const Data data({format, 2, 2, 40, kPage, 0, {kTokens}});
    const auto bytes = static_cast<size_t>(data.layout.page_bytes());
    const std::vector<std::byte> untouched(bytes, std::byte{0xff});
    test::for_each_isa([&](const KernelTable& table) {
      const test::Kernels on{table, context};
      const Pages expected(data.layout, 1, kTokens);
      append_chunks(on, data, expected, {});
      for (const Part part : {Part{0, 64}, {64, 96}, {96, INT32_MAX}, {32, 32}, {160, 320}}) {
        const Pages pages(data.layout, 1, kTokens);
        append_chunks(on, data, pages, part);
        for (int page = 0; page < kPages; ++page) {
          const bool inside = page * kPage >= part.begin && page * kPage < part.end;
          const std::byte* wanted = inside ? expected.of(0)[page] : untouched.data();
          ASSERT_EQ(std::memcmp(pages.of(0)[page], wanted, bytes), 0)
              << "part " << part.begin << " page " << page;
        }
      }
    });
  }
}

}  // namespace
}  // namespace penstock
