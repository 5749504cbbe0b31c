#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/attention_cases.h"
#include "support/kernels.h"
#include "support/reference.h"

namespace penstock {
namespace {

using test::Case;
using test::Data;
using test::Pages;
using test::TestContext;

struct Piece {
  int sequence, position, count;
};

// One micro-batch: appends the pieces' keys and values, attends, and puts each row of `out` where
// its token is.
void run_batch(const test::Kernels& on, const Data& data, const Pages& pages,
               const std::vector<Piece>& pieces, std::vector<float>& out) {
  std::vector<SpanView> spans;
  std::vector<float> q, k, v;
  int32_t row = 0;
  for (const Piece& piece : pieces) {
    spans.push_back({row, piece.position, piece.count, pages.of(piece.sequence)});
    const int64_t first = data.firsts[static_cast<size_t>(piece.sequence)] + piece.position;
    const auto copy = [&](const std::vector<float>& from, std::vector<float>& to, int64_t width) {
      to.insert(to.end(), from.begin() + first * width,
                from.begin() + (first + piece.count) * width);
    };
    copy(data.q, q, data.q_width());
    copy(data.k, k, data.kv_width());
    copy(data.v, v, data.kv_width());
    row += piece.count;
  }
  const int32_t span_count = static_cast<int32_t>(spans.size());
  on.table.kv_append(
      {data.layout, spans.data(), span_count, k.data(), data.kv_width(), v.data(), data.kv_width()},
      on.context);
  std::vector<float> result(q.size(), NAN);
  AttentionParams p;
  p.layout = data.layout;
  p.spans = spans.data();
  p.span_count = span_count;
  p.q = q.data();
  p.q_stride = data.q_width();
  p.heads = data.c.heads;
  p.scale = 1.0f / std::sqrt(static_cast<float>(data.c.head_dim));
  p.window = data.c.window;
  p.out = result.data();
  p.out_stride = data.q_width();
  p.exact = data.c.exact;
  on.table.attention(p, on.context);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const int64_t first = data.firsts[static_cast<size_t>(pieces[i].sequence)] + pieces[i].position;
    std::memcpy(out.data() + first * data.q_width(),
                result.data() + spans[i].first_row * data.q_width(),
                static_cast<size_t>(pieces[i].count * data.q_width()) * sizeof(float));
  }
}

int longest(const Case& c) { return *std::max_element(c.lengths.begin(), c.lengths.end()); }

// All sequences whole in one micro-batch.
std::vector<float> prefill(const KernelTable& table, const Data& data,
                           const KernelContext& context) {
  const Pages pages(data.layout, static_cast<int>(data.c.lengths.size()), longest(data.c));
  std::vector<Piece> pieces;
  for (size_t s = 0; s < data.c.lengths.size(); ++s) {
    pieces.push_back({static_cast<int>(s), 0, data.c.lengths[s]});
  }
  std::vector<float> out(data.q.size(), NAN);
  run_batch({table, context}, data, pages, pieces, out);
  return out;
}

// In chunks of `chunk` tokens, the sequences side by side in each micro-batch, last sequence first.
std::vector<float> in_chunks(const KernelTable& table, const Data& data, int chunk,
                             const KernelContext& context) {
  const Pages pages(data.layout, static_cast<int>(data.c.lengths.size()), longest(data.c));
  std::vector<float> out(data.q.size(), NAN);
  for (int at = 0; at < longest(data.c); at += chunk) {
    std::vector<Piece> pieces;
    for (size_t s = data.c.lengths.size(); s-- > 0;) {
      const int count = std::min(chunk, data.c.lengths[s] - at);
      if (count > 0) pieces.push_back({static_cast<int>(s), at, count});
    }
    run_batch({table, context}, data, pages, pieces, out);
  }
  return out;
}

// Inputs are normal: queries below 3, values below 5.
double tolerated(const Case& c, const KernelTable& table) {
  if (c.exact) return 4e-6;
  // Tensor cores may truncate what they add.
  if (c.format == "fp16" && table.isa == "device") return 2e-5;
  // Two parts of fp16.
  if (table.isa == "cuda75" || (table.isa == "cuda" && c.format != "bf16")) return 4e-6;
  // Half a step of queries and weights is 1 / 32638 of the largest.
  if (c.format.starts_with("int")) return 5.0 / 32638;
  // Half a unit in the last of 8 bits, of queries and weights.
  if (c.format == "bf16") return 5.0 / 512;
  return 4e-6;
}

void expect_reference(const KernelTable& table, const Case& c, const KernelContext& context) {
  const Data data(c);
  const Pages pages(data.layout, 1, c.lengths[0]);
  std::vector<float> out(data.q.size(), NAN);
  run_batch({table, context}, data, pages, {{0, 0, c.lengths[0]}}, out);
  AttentionParams p;
  p.layout = data.layout;
  p.q = data.q.data();
  p.q_stride = data.q_width();
  p.heads = c.heads;
  p.scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  p.window = c.window;
  const SpanView span{0, 0, c.lengths[0], pages.of(0)};
  for (int row = 0; row < c.lengths[0]; row += row < 3 ? 1 : 41) {
    for (int head = 0; head < c.heads; ++head) {
      const std::vector<double> expected = test::attention_reference(p, span, row, head);
      const float* at = out.data() + row * data.q_width() + int64_t{head} * c.head_dim;
      for (int d = 0; d < c.head_dim; ++d) {
        ASSERT_NEAR(at[d], expected[static_cast<size_t>(d)], tolerated(c, table))
            << "row " << row << " head " << head << " dim " << d;
      }
    }
  }
}

// Every ISA, and emulated Turing where it goes a way of its own.
template <class F>
void for_each_way(std::string_view format, F f) {
  test::for_each_isa(f);
  SCOPED_TRACE("Turing, emulated");
  if (format == "bf16") f(test::emulated_turing_table());
}

TEST(Attention, AgreesWithDoublePrecision) {
  const TestContext context(2);
  for (const std::string_view format : {"fp32", "fp16", "bf16", "int8", "int4"}) {
    for (const int dim : {20, 24, 40, 64, 80, 96, 128, 7}) {
      SCOPED_TRACE(testing::Message() << format << " head_dim " << dim);
      for_each_way(format, [&](const KernelTable& table) {
        expect_reference(table, {format, 4, 2, dim, 32, 0, {90}}, context);
        expect_reference(table, {format, 4, 2, dim, 32, 0, {90}, true}, context);
      });
    }
    for_each_way(format, [&](const KernelTable& table) {
      SCOPED_TRACE(std::string(format));
      expect_reference(table, {format, 3, 3, 64, 16, 0, {600}}, context);
      expect_reference(table, {format, 6, 1, 80, 64, 0, {300}}, context);
      expect_reference(table, {format, 2, 1, 64, 32, 37, {560}}, context);
      expect_reference(table, {format, 2, 2, 300, 32, 300, {330}}, context);
      expect_reference(table, {format, 4, 2, 64, 32, 0, {300}, true}, context);
    });
  }
}

// Whole, in chunks and token by token; one thread and two; any page size: the same bits. The
// emulator, which has no threads and takes long, is spared half of it.
void expect_same_however_cut(const KernelTable& table, Case c) {
  const bool emulated = table.isa.starts_with("cuda");
  if (emulated) {
    for (int& length : c.lengths) length = length > 256 ? 256 + length % 8 : length / 4;
  }
  const TestContext one(1), two(2);
  const Data data(c);
  const std::vector<float> expected = prefill(table, data, two);
  const auto same = [&](const std::vector<float>& out, const char* what) {
    test::expect_same_bits(out.data(), expected.data(), static_cast<int64_t>(out.size()), what);
  };
  same(in_chunks(table, data, 1, two), "token by token");
  if (!emulated) same(prefill(table, data, one), "threads");
  for (const int chunk : {7, 64, 100}) {
    if (!emulated || chunk == 64) same(in_chunks(table, data, chunk, one), "chunks");
  }
  for (const int page_tokens : {16, 32, 64}) {
    if (emulated && page_tokens != 16) continue;
    c.page_tokens = page_tokens;
    same(in_chunks(table, Data(c), 50, two), "page sizes");
  }
}

TEST(Attention, ChunksAndPagesChangeNoBit) {
  for (const std::string_view format : {"fp32", "fp16", "bf16", "int8", "int4"}) {
    SCOPED_TRACE(std::string(format));
    for_each_way(format, [&](const KernelTable& table) {
      expect_same_however_cut(table, {format, 6, 2, 40, 32, 0, {300, 5, 131}});
      expect_same_however_cut(table, {format, 2, 2, 64, 16, 45, {290, 33}});
      expect_same_however_cut(table, {format, 2, 1, 64, 32, 0, {290, 33}, true});
    });
  }
}

TEST(Attention, LongWindowAcrossSegments) {
  test::for_each_isa([&](const KernelTable& table) {
    expect_same_however_cut(table, {"bf16", 4, 1, 32, 32, 256, {530}});
    expect_same_however_cut(table, {"fp16", 4, 1, 32, 32, 256, {530}});
    expect_same_however_cut(table, {"int4", 3, 1, 80, 32, 256, {530}});
    expect_same_however_cut(table, {"fp32", 2, 1, 24, 64, 1, {270}});
  });
}

TEST(Attention, TokensDoNotSeeWhatComesAfter) {
  const TestContext context(2);
  test::for_each_isa([&](const KernelTable& table) {
    Data data({"fp32", 4, 2, 40, 32, 0, {120, 40}});
    const std::vector<float> expected = prefill(table, data, context);
    const int64_t changed = 77;  // of the first sequence
    for (int64_t i = changed * data.kv_width(); i < 120 * data.kv_width(); ++i) {
      data.k[static_cast<size_t>(i)] = INFINITY;
      data.v[static_cast<size_t>(i)] = NAN;
    }
    const std::vector<float> out = prefill(table, data, context);
    const int64_t width = data.q_width();
    test::expect_same_bits(out.data(), expected.data(), changed * width, "before");
    test::expect_same_bits(out.data() + 120 * width, expected.data() + 120 * width, 40 * width,
                           "other sequence");
    EXPECT_TRUE(std::isnan(out[static_cast<size_t>(changed * width)]));
  });
}

TEST(Attention, TokensOutsideTheWindowAreNotTouched) {
  const TestContext context(1);
  test::for_each_isa([&](const KernelTable& table) {
    Data data({"fp32", 2, 2, 16, 16, 20, {200}});
    const std::vector<float> expected = prefill(table, data, context);
    for (int64_t i = 0; i < 100 * data.kv_width(); ++i) data.v[static_cast<size_t>(i)] = NAN;
    const std::vector<float> out = prefill(table, data, context);
    test::expect_same_bits(out.data() + 119 * data.q_width(),
                           expected.data() + 119 * data.q_width(), 81 * data.q_width(), "after");
  });
}

TEST(KvAppend, StoresWhatTheScalarReferenceStores) {
  const TestContext context(2);
  for (const std::string_view format : {"fp32", "fp16", "bf16", "int8", "int4"}) {
    for (const int dim : {64, 80, 20, 33, 128, 1}) {
      SCOPED_TRACE(testing::Message() << format << " head_dim " << dim);
      const Data data({format, 2, 2, dim, 16, 0, {37}});
      const Pages expected(data.layout, 1, 37);
      for (int t = 0; t < 37; ++t) {
        for (int head = 0; head < 2; ++head) {
          const int64_t at = t * data.kv_width() + int64_t{head} * dim;
          std::byte* page = expected.of(0)[t / 16];
          kv_store_scalar(data.layout, page, {false, head, t % 16}, data.k.data() + at);
          kv_store_scalar(data.layout, page, {true, head, t % 16}, data.v.data() + at);
        }
      }
      test::for_each_isa([&](const KernelTable& table) {
        const Pages pages(data.layout, 1, 37);
        std::vector<float> out(data.q.size());
        run_batch({table, context}, data, pages, {{0, 0, 37}}, out);
        for (int page = 0; page < 3; ++page) {
          ASSERT_EQ(std::memcmp(pages.of(0)[page], expected.of(0)[page],
                                static_cast<size_t>(data.layout.page_bytes())),
                    0);
        }
      });
    }
  }
}

}  // namespace
}  // namespace penstock
