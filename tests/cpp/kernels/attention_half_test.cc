// Attention on fp16 tensor cores, emulated or on the GPU that is the test device: fp16 and
// quantised caches, and on Turing, emulated, bf16 ones. Queries of any magnitude, numbers at both
// ends of the format, rows beside others, Turing.
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

// Of outputs whose values are normal.
double tolerance() {
  const bool gpu = test::test_device().starts_with("cuda:");
  return gpu ? 2e-5 : 4e-6;  // tensor cores may truncate what they add
}

class AttentionHalf : public testing::Test {
 protected:
  static constexpr std::string_view kFormats[] = {"fp16", "bf16", "int8", "int4"};

  const KernelTable& table(std::string_view format) const {
    return format == "bf16" ? test::emulated_turing_table() : test::cuda_kernel_table();
  }

  struct Attended {
    std::vector<float> out;
    double worst;  // error
  };

  // One sequence; scores times `scale`.
  Attended attend(const Data& data, float scale = 1) const {
    const Pages pages(data.layout, 1, data.c.lengths[0]);
    const SpanView span{0, 0, data.c.lengths[0], pages.of(0)};
    table(data.c.format)
        .kv_append(
            {data.layout, &span, 1, data.k.data(), data.kv_width(), data.v.data(), data.kv_width()},
            context_);
    Attended attended{std::vector<float>(data.q.size(), NAN), 0};
    AttentionParams p = params(data, span);
    p.scale *= scale;
    p.out = attended.out.data();
    table(data.c.format).attention(p, context_);
    attended.worst = worst(data, p);
    return attended;
  }
  static AttentionParams params(const Data& data, const SpanView& span) {
    AttentionParams p;
    p.layout = data.layout;
    p.spans = &span;
    p.span_count = 1;
    p.q = data.q.data();
    p.q_stride = p.out_stride = data.q_width();
    p.heads = data.c.heads;
    p.scale = 1.0f / std::sqrt(static_cast<float>(data.c.head_dim));
    p.window = data.c.window;
    return p;
  }
  static double worst(const Data& data, const AttentionParams& p) {
    double largest = 0;
    for (int row = 0; row < data.c.lengths[0]; row += 1 + row / 8) {
      for (int head = 0; head < p.heads; ++head) {
        const std::vector<double> expected = test::attention_reference(p, p.spans[0], row, head);
        const float* at = p.out + row * p.out_stride + int64_t{head} * data.c.head_dim;
        for (int d = 0; d < data.c.head_dim; ++d) {
          const double apart = std::abs(at[d] - expected[static_cast<size_t>(d)]);
          largest = apart <= largest ? largest : apart;  // NaN stays
        }
      }
    }
    return largest;
  }
  static void scale(std::vector<float>& values, float by) {
    for (float& value : values) value *= by;
  }

  TestContext context_{1};
};

TEST_F(AttentionHalf, QueriesHaveAnyMagnitude) {
  for (const std::string_view format : kFormats) {
    for (const float magnitude : {1e-37f, 1e-30f, 1e-6f, 1.0f, 1e5f, 1e9f, 1e30f, 3e37f}) {
      SCOPED_TRACE(testing::Message() << format << " " << magnitude);
      Data data({format, 4, 2, 80, 32, 0, {format == "fp16" ? 300 : 60}});
      scale(data.q, magnitude);
      EXPECT_LE(attend(data, 1 / magnitude).worst, tolerance());
    }
  }
}

// Every row one of its own, beside the others.
TEST_F(AttentionHalf, RowsHaveScalesOfTheirOwn) {
  for (const std::string_view format : kFormats) {
    SCOPED_TRACE(std::string(format));
    const Data plain({format, 4, 2, 64, 32, 0, {40}});
    const Attended expected = attend(plain);
    Data data = plain;
    for (int64_t i = 0; i < static_cast<int64_t>(data.q.size()); ++i) {
      if (i / data.q_width() % 2 != 0) data.q[static_cast<size_t>(i)] *= 0x1p60f;
    }
    const Attended found = attend(data);
    for (int64_t row = 0; row < 40; row += 2) {
      test::expect_same_bits(found.out.data() + row * data.q_width(),
                             expected.out.data() + row * data.q_width(), data.q_width(), "row");
    }
  }
}

// 2^20 times larger, where keys are zeros.
TEST_F(AttentionHalf, SmallElementsCountBesideALargeOne) {
  for (const std::string_view format : {"fp16", "bf16", "int8"}) {
    Data data({format, 2, 2, 64, 32, 0, {70}});
    for (size_t i = 0; i < data.k.size(); i += 64) data.k[i] = 0;
    for (size_t i = 0; i < data.q.size(); i += 64) data.q[i] = 0x1p20f;
    EXPECT_LE(attend(data).worst, 2 * tolerance()) << format;
  }
}

TEST_F(AttentionHalf, KeysAndValuesReachTheEndsOfTheFormat) {
  const auto within = [](float& value) { value = std::clamp(value, -65504.0f, 65504.0f); };
  for (const float magnitude : {0x1p-20f, 0x1p14f}) {  // some are subnormal, some the largest
    SCOPED_TRACE(magnitude);
    Data keys({"fp16", 4, 1, 64, 32, 0, {90}});
    Data values = keys;
    scale(keys.k, 2 * magnitude);
    std::for_each(keys.k.begin(), keys.k.end(), within);
    EXPECT_LE(attend(keys, 0.5f / magnitude).worst, tolerance());
    scale(values.v, magnitude * 8);
    std::for_each(values.v.begin(), values.v.end(), within);
    EXPECT_LE(attend(values).worst, tolerance() * magnitude * 8);
  }
}

// Powers of two come out as they went in: keys and values have a wide range but in fp16.
TEST_F(AttentionHalf, KeysAndValuesHaveAnyMagnitude) {
  for (const std::string_view format : {"bf16", "int8", "int4"}) {
    const Data plain({format, 4, 2, 80, 32, 0, {70}});
    const std::vector<float> expected = attend(plain).out;
    for (const float power : {0x1p-60f, 0x1p-20f, 0x1p20f, 0x1p100f}) {
      SCOPED_TRACE(testing::Message() << format << " " << power);
      Data data = plain;
      scale(data.k, power);
      scale(data.v, power);
      std::vector<float> out = attend(data, 1 / power).out;
      scale(out, 1 / power);
      test::expect_same_bits(out.data(), expected.data(), static_cast<int64_t>(out.size()), "out");
    }
  }
}

// Of a token's elements one may be much larger, and tokens beside each other.
TEST_F(AttentionHalf, TokensOfBf16HaveScalesOfTheirOwn) {
  const Data plain({"bf16", 4, 2, 64, 32, 0, {70}});
  Data data = plain;
  for (size_t i = 0; i < data.q.size(); i += 64) data.q[i] = 0;
  for (size_t i = 0; i < data.k.size(); i += 64) data.k[i] *= 0x1p18f;
  EXPECT_LE(attend(data).worst, tolerance());
  data = plain;
  for (size_t i = 0; i < data.v.size(); i += 64) data.v[i] = 0x1p18f;  // the sum too
  EXPECT_LE(attend(data).worst, tolerance() * 0x1p18f);
  const std::vector<float> out = attend(data).out, expected = attend(plain).out;
  for (size_t i = 0; i < out.size(); ++i) {
    if (i % 64 == 0) continue;
    ASSERT_NEAR(out[i], expected[i], tolerance()) << i;
  }
  data = plain;
  for (size_t i = 0; i < data.v.size(); ++i) data.v[i] *= i / 128 % 3 == 0 ? 0x1p-30f : 1.0f;
  EXPECT_LE(attend(data).worst, tolerance());
}

// Weights of e^-12, which fp16 alone would have in too few bits.
TEST_F(AttentionHalf, SmallWeightsOfManyKeysCount) {
  for (const std::string_view format : kFormats) {
    Data data({format, 1, 1, 16, 32, 0, {200}});
    data.q.assign(data.q.size(), 0.0f);
    data.k.assign(data.k.size(), 0.0f);
    data.v.assign(data.v.size(), 60000.0f);
    for (size_t i = 0; i < data.q.size(); i += 16) data.q[i] = 1;
    data.k[0] = 48;  // a score of 12
    std::fill_n(data.v.begin(), 16, 0.0f);
    const Attended attended = attend(data);
    EXPECT_LE(attended.worst, attended.out.back() * 2 * tolerance()) << format;
  }
}

TEST_F(AttentionHalf, ASpoiltQueryOrKeySpoilsWhatSeesIt) {
  for (const std::string_view format : kFormats) {
    SCOPED_TRACE(std::string(format));
    const Data plain({format, 4, 2, 48, 32, 0, {70}});
    const int64_t width = plain.q_width();
    const std::vector<float> expected = attend(plain).out;
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
      Data query = plain;
      query.q[static_cast<size_t>(20 * width + 48 + 5)] = bad;  // of row 20, head 1
      const std::vector<float> out = attend(query).out;
      for (int64_t i = 0; i < 70 * width; ++i) {
        const float found = out[static_cast<size_t>(i)];
        if (i / 48 == 20 * 4 + 1) {
          EXPECT_TRUE(std::isnan(found));
        } else {
          ASSERT_EQ(found, expected[static_cast<size_t>(i)]) << i;
        }
      }
    }
    for (const float bad : {format == "fp16" ? 70000.0f : INFINITY, NAN}) {  // beyond the format
      Data key = plain;
      for (int64_t d = 0; d < 48; ++d) key.k[static_cast<size_t>(20 * plain.kv_width() + d)] = bad;
      const std::vector<float> out = attend(key).out;
      test::expect_same_bits(out.data(), expected.data(), 20 * width, "before");
      for (int64_t row = 20; row < 70; ++row) {
        EXPECT_FALSE(std::isfinite(out[static_cast<size_t>(row * width)])) << row;
        test::expect_same_bits(out.data() + row * width + 2 * 48,
                               expected.data() + row * width + 2 * 48, 2 * 48, "other KV head");
      }
    }
  }
}

// Rows that do not see it either, if they share its tile of 16. Beside codes not those, but the
// whole group of elements.
TEST_F(AttentionHalf, ASpoiltValueStaysInItsTiles) {
  for (const std::string_view format : kFormats) {
    SCOPED_TRACE(std::string(format));
    const bool codes = format.starts_with("int");
    const Data plain({format, 4, 2, 80, 32, 0, {70}});
    const int64_t width = plain.q_width();
    const std::vector<float> expected = attend(plain).out;
    for (const float bad : {INFINITY, NAN}) {
      Data value = plain;
      value.v[static_cast<size_t>(40 * plain.kv_width() + 7)] = bad;
      const std::vector<float> out = attend(value).out;
      test::expect_same_bits(out.data(), expected.data(), (codes ? 40 : 32) * width, "before");
      for (int64_t row = 40; row < 70; ++row) {
        const int64_t first = row * width, other = first + (codes ? 64 : 8);
        EXPECT_FALSE(std::isfinite(out[static_cast<size_t>(first + 7)]));
        EXPECT_EQ(out[static_cast<size_t>(other)], expected[static_cast<size_t>(other)]);
      }
    }
  }
}

// In the emulator. bf16 has other bits there; heads that do not fit go through fp32.
TEST_F(AttentionHalf, TuringHasTheSameBits) {
  for (const Case& c : {Case{"fp16", 6, 2, 64, 32, 0, {300}},
                        {"fp16", 4, 1, 128, 16, 70, {150}},
                        {"fp16", 2, 1, 256, 32, 0, {40}},
                        {"int8", 6, 2, 64, 32, 0, {300}},
                        {"int4", 4, 1, 128, 16, 70, {150}},
                        {"int4", 2, 1, 256, 32, 0, {40}}}) {
    const Data data(c);
    const Pages pages(data.layout, 1, c.lengths[0]);
    const SpanView span{0, 0, c.lengths[0], pages.of(0)};
    const KernelTable& table = test::emulated_cuda_table();
    table.kv_append(
        {data.layout, &span, 1, data.k.data(), data.kv_width(), data.v.data(), data.kv_width()},
        context_);
    std::vector<float> expected(data.q.size(), NAN), out(data.q.size(), NAN);
    AttentionParams p = params(data, span);
    p.exact = c.head_dim == 256;
    p.out = expected.data();
    table.attention(p, context_);
    p.exact = false;
    p.out = out.data();
    test::emulated_turing_table().attention(p, context_);
    EXPECT_EQ(out, expected) << c.format << " " << c.head_dim;
  }
}

}  // namespace
}  // namespace penstock
