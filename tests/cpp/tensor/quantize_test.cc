#include "tensor/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "support/random.h"
#include "tensor/kv_layout.h"

namespace penstock {
namespace {

using test::Random;

template <class F>
void for_each_packed(F f) {
  for (const QuantFormat& format : format_table()) {
    if (!format.quantised() || !format.for_weights) continue;
    SCOPED_TRACE(std::string(format.name));
    f(format);
  }
}

struct Tile {
  Tile(const QuantFormat& format, const std::vector<float>& values, int64_t rows, int64_t k)
      : layout(packed_layout(format, k)),
        bytes(static_cast<size_t>(layout.tile_bytes), std::byte{0xee}) {
    pack_tile(format, {values.data(), rows, k}, k, bytes.data());
  }
  float scale(int row, int64_t group) const {
    return load_as_float(bytes.data(), DType::bf16, group * kTileRows + row);
  }
  PackedLayout layout;
  std::vector<std::byte> bytes;
};

TEST(PackTile, ErrorIsAtMostHalfAStep) {
  for_each_packed([](const QuantFormat& format) {
    for (const int64_t k : {1, 30, 64, 129, 700}) {
      for (const float shift : {0.0f, 3.0f, -3.0f}) {  // also groups of one sign
        std::vector<float> values = Random(static_cast<uint64_t>(k)).normals(16 * k, 2.0f);
        for (float& value : values) value += shift;
        const Tile tile(format, values, 16, k);
        for (int row = 0; row < 16; ++row) {
          std::vector<float> back(static_cast<size_t>(k));
          unpack_row(format, tile.layout, tile.bytes.data(), row, back.data());
          for (int64_t i = 0; i < k; ++i) {
            const double value = values[static_cast<size_t>(row * k + i)];
            const float step = tile.scale(row, i / tile.layout.group);
            ASSERT_LE(std::abs(back[static_cast<size_t>(i)] - value), 0.500001 * step)
                << row << " " << i;
          }
        }
      }
    }
  });
}

TEST(PackTile, StepsAreNoLargerThanTheRangeNeeds) {
  for_each_packed([](const QuantFormat& format) {
    const int64_t k = 128;
    const std::vector<float> values = Random(9).normals(16 * k);
    const Tile tile(format, values, 16, k);
    for (int row = 0; row < 16; ++row) {
      for (int64_t group = 0; group < tile.layout.groups; ++group) {
        float low = 0, high = 0;
        for (int64_t i = group * tile.layout.group; i < (group + 1) * tile.layout.group; ++i) {
          low = std::min(low, values[static_cast<size_t>(row * k + i)]);
          high = std::max(high, values[static_cast<size_t>(row * k + i)]);
        }
        const float range = format.bits == 8 ? std::max(-low, high) / 127 : (high - low) / 15;
        EXPECT_GE(tile.scale(row, group), range);
        EXPECT_LE(tile.scale(row, group), range * 1.01f);
      }
    }
  });
}

TEST(PackTile, ZerosAndMissingRowsAndPaddingAreZero) {
  for_each_packed([](const QuantFormat& format) {
    const int64_t k = 200;
    std::vector<float> values = Random(10).normals(5 * k);
    for (int64_t i = 0; i < k; ++i) values[static_cast<size_t>(2 * k + i)] = 0.0f;
    values[7] = 0.0f;
    const Tile tile(format, values, 5, k);
    std::vector<float> back(static_cast<size_t>(k));
    for (const int row : {2, 5, 9, 15}) {
      unpack_row(format, tile.layout, tile.bytes.data(), row, back.data());
      for (const float value : back) ASSERT_EQ(value, 0.0f);
    }
    EXPECT_EQ(unpack_value(format, tile.layout, tile.bytes.data(), 0, 7), 0.0f);
    unpack_row(format, tile.layout, tile.bytes.data(), 0, back.data());
    EXPECT_LT(std::count(back.begin(), back.end(), 0.0f), k / 2);
    for (int64_t i = k; i < tile.layout.padded_k; ++i) {  // of the last group
      if (i / tile.layout.group >= tile.layout.groups) break;
      EXPECT_EQ(unpack_value(format, tile.layout, tile.bytes.data(), 0, i), 0.0f);
    }
  });
}

TEST(PackTile, RowsArePackedAlone) {
  for_each_packed([](const QuantFormat& format) {
    const int64_t k = 150;
    const std::vector<float> values = Random(11).normals(16 * k);
    const Tile all(format, values, 16, k);
    const std::vector<float> one(values.begin() + 6 * k, values.begin() + 7 * k);
    const Tile alone(format, one, 1, k);
    for (int64_t i = 0; i < k; ++i) {
      EXPECT_EQ(unpack_value(format, alone.layout, alone.bytes.data(), 0, i),
                unpack_value(format, all.layout, all.bytes.data(), 6, i));
    }
  });
}

TEST(PackTile, TinyHugeAndBrokenValues) {
  for_each_packed([](const QuantFormat& format) {
    const int64_t k = 32;
    std::vector<float> values = Random(12).normals(5 * k);
    for (int64_t i = 0; i < k; ++i) values[static_cast<size_t>(i)] *= 1e-42f;  // subnormal
    for (int64_t i = k; i < 2 * k; ++i)
      values[static_cast<size_t>(i)] *= 4e37f;  // near the largest
    values[static_cast<size_t>(2 * k + 3)] = NAN;
    values[static_cast<size_t>(3 * k + 3)] = -INFINITY;
    const Tile tile(format, values, 5, k);
    for (int64_t i = 0; i < k; ++i) {
      const auto back = [&](int row) {
        return unpack_value(format, tile.layout, tile.bytes.data(), row, i);
      };
      EXPECT_NEAR(back(0), values[static_cast<size_t>(i)], 1e-40f);
      EXPECT_NEAR(back(1), values[static_cast<size_t>(k + i)], 0.51f * tile.scale(1, 0));
      EXPECT_TRUE(std::isnan(back(2)));
      EXPECT_TRUE(std::isnan(back(3)));
      EXPECT_NEAR(back(4), values[static_cast<size_t>(4 * k + i)], 0.51f * tile.scale(4, 0));
    }
  });
}

TEST(KvStore, ErrorIsAtMostHalfAStep) {
  for (const std::string_view name : {"int8", "int4"}) {
    for (const int dim : {1, 20, 63, 64, 80, 128, 129}) {
      SCOPED_TRACE(testing::Message() << name << " " << dim);
      const KvLayout layout{kv_format(name), 2, dim, 16};
      std::vector<std::byte> page(static_cast<size_t>(layout.page_bytes()), std::byte{0xff});
      std::vector<float> in = Random(13).normals(dim, 3.0f), out(in.size());
      for (float& value : in) value += 2.0f;
      kv_store_scalar(layout, page.data(), {true, 1, 15}, in.data());
      kv_load_scalar(layout, page.data(), {true, 1, 15}, out.data());
      for (int i = 0; i < dim; ++i) {
        const int64_t params = layout.place(true, 1, 15).params + i / kKvGroup * 4 * kKeyBlock;
        const float step = load_as_float(page.data() + params, DType::bf16, 0);
        ASSERT_LE(std::abs(out[static_cast<size_t>(i)] - in[static_cast<size_t>(i)]),
                  0.500001f * step);
      }
    }
  }
}

TEST(KvStore, EveryTokenAndHeadHasItsOwnPlace) {
  for (const std::string_view name : {"fp32", "fp16", "bf16", "int8", "int4"}) {
    SCOPED_TRACE(std::string(name));
    const KvLayout layout{kv_format(name), 3, 70, 16};
    std::vector<std::byte> page(static_cast<size_t>(layout.page_bytes()), std::byte{0xff});
    const auto values = [&](bool value, int head, int token) {
      return Random(static_cast<uint64_t>((value * 3 + head) * 16 + token + 1)).normals(70);
    };
    for (const bool value : {false, true}) {
      for (int head = 0; head < 3; ++head) {
        for (int token = 0; token < 16; ++token) {
          kv_store_scalar(layout, page.data(), {value, head, token},
                          values(value, head, token).data());
        }
      }
    }
    std::vector<float> out(70);
    for (int slot = 0; slot < 96; ++slot) {
      const bool value = slot >= 48;
      kv_load_scalar(layout, page.data(), {value, slot / 16 % 3, slot % 16}, out.data());
      const std::vector<float> in = values(value, slot / 16 % 3, slot % 16);
      for (size_t i = 0; i < 70; ++i) ASSERT_NEAR(out[i], in[i], name == "int4" ? 0.2 : 0.02);
    }
    EXPECT_EQ(layout.page_bytes(), 2 * 3 * 16 * (layout.code_bytes() + layout.param_bytes()));
  }
}

// Every part of every token has its bytes of the page to itself, and nothing is left over.
TEST(KvStore, PlacesFillThePage) {
  for (const std::string_view name : {"fp32", "bf16", "int8", "int4"}) {
    for (const int tokens : {16, 64}) {
      for (const int dim : {7, 64, 80, 129}) {
        SCOPED_TRACE(testing::Message() << name << " " << tokens << " " << dim);
        const KvLayout layout{kv_format(name), 3, dim, tokens};
        std::vector<int> used(static_cast<size_t>(layout.page_bytes()));
        const auto use = [&](int64_t at, int64_t bytes, int64_t part_bytes, int64_t stride) {
          for (int64_t b = 0; b < bytes; ++b) {
            ++used.at(static_cast<size_t>(at + b / part_bytes * stride + b % part_bytes));
          }
        };
        for (int slot = 0; slot < 2 * 3 * tokens; ++slot) {
          const KvPlace place = layout.place(slot % 2 == 1, slot / 2 % 3, slot / 6);
          use(place.codes, layout.code_bytes(), place.part_bytes, place.stride);
          use(place.params, layout.param_bytes(), 4, 4 * kKeyBlock);
        }
        EXPECT_EQ(std::count(used.begin(), used.end(), 1), layout.page_bytes());
      }
    }
  }
}

// What a vector load of keys and a dot product of values rely on.
TEST(KvStore, TokensOfABlockLieSideBySide) {
  const KvLayout layout{kv_format("bf16"), 2, 64, 32};
  const KvPlace first = layout.place(false, 1, 16), next = layout.place(false, 1, 17);
  EXPECT_EQ(first.stride, 4 * kKeyBlock);
  EXPECT_EQ(next.codes - first.codes, 4);
  const auto distance = [](std::string_view format, int token) {
    const KvLayout values{kv_format(format), 2, 64, 32};
    return values.place(true, 1, token + 1).codes - values.place(true, 1, token).codes;
  };
  EXPECT_EQ(distance("fp32", 16), 256);
  EXPECT_EQ(distance("fp16", 16), 128);
  EXPECT_EQ(distance("bf16", 16), 2);
  EXPECT_EQ(distance("bf16", 17), 254);
  EXPECT_EQ(distance("int8", 18), 1);
  EXPECT_EQ(distance("int4", 19), 4 * 32 - 3);
}

TEST(KvStore, ConstantAndBrokenGroups) {
  for (const std::string_view name : {"int8", "int4"}) {
    SCOPED_TRACE(std::string(name));
    const KvLayout layout{kv_format(name), 1, 192, 16};
    std::vector<std::byte> page(static_cast<size_t>(layout.page_bytes()), std::byte{0xff});
    std::vector<float> in(192, 0.0f), out(192);
    for (size_t i = 64; i < 128; ++i) in[i] = -1.2345f;
    in[130] = INFINITY;
    kv_store_scalar(layout, page.data(), {false, 0, 0}, in.data());
    kv_load_scalar(layout, page.data(), {false, 0, 0}, out.data());
    for (size_t i = 0; i < 64; ++i) EXPECT_EQ(out[i], 0.0f);
    for (size_t i = 64; i < 128; ++i) EXPECT_NEAR(out[i], -1.2345f, 0.006f);
    for (size_t i = 128; i < 192; ++i) EXPECT_TRUE(std::isnan(out[i]));
  }
}

}  // namespace
}  // namespace penstock
