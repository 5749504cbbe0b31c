#include "tensor/format.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "tensor/tier.h"

namespace penstock {
namespace {

TEST(Format, NamesFindTheirRows) {
  for (size_t i = 0; i < format_table().size(); ++i) {
    const QuantFormat& row = format_table()[i];
    EXPECT_EQ(&format(static_cast<FormatId>(i)), &row);
    if (row.for_weights) {
      EXPECT_EQ(weight_format(row.name), i);
    }
    if (row.for_kv) {
      EXPECT_EQ(kv_format(row.name), i);
    }
  }
  EXPECT_EQ(format(weight_format("int4")).name, "int4-g64");
  EXPECT_EQ(format(kv_format("int8")).name, "kv-int8");
  EXPECT_EQ(format(kv_format("int4")).offset, Offset::real);
  EXPECT_EQ(format(raw_format(DType::bf16)).name, "bf16");
}

TEST(Format, UnknownNamesAreRefusedWithTheAllowedOnes) {
  const auto message = [](auto call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string weights = message([] { weight_format("kv-int8"); });
  EXPECT_NE(weights.find("int4-g128"), std::string::npos);
  EXPECT_EQ(weights.find(", kv-"), std::string::npos);
  const std::string cache = message([] { kv_format("int8-g32"); });
  EXPECT_NE(cache.find("int8"), std::string::npos);
  EXPECT_EQ(cache.find("g128"), std::string::npos);
}

TEST(Format, TilesHoldScalesZerosAndCodes) {
  for (const QuantFormat& format : format_table()) {
    if (!format.quantised() || !format.for_weights) continue;
    for (const int64_t k : {1, 31, 128, 129, 4096, 11008}) {
      const PackedLayout layout = packed_layout(format, k);
      EXPECT_EQ(layout.tile_bytes % 64, 0);
      EXPECT_EQ(layout.codes_offset % 64, 0);
      EXPECT_EQ(layout.padded_k % kTileK, 0);
      EXPECT_GE(layout.padded_k, k);
      EXPECT_LT(layout.padded_k, k + kTileK);
      EXPECT_EQ(layout.groups, format.group ? (k + format.group - 1) / format.group : 1);
      EXPECT_EQ(layout.zeros_offset, layout.groups * 32);
      EXPECT_GE(layout.codes_offset,
                layout.zeros_offset + (format.offset == Offset::integer ? layout.groups * 16 : 0));
      EXPECT_EQ(layout.tile_bytes - layout.codes_offset, layout.padded_k * 16 * format.bits / 8);
    }
  }
}

TEST(Format, BitsPerValueCountEverything) {
  EXPECT_DOUBLE_EQ(bits_per_value(format(weight_format("bf16")), 100), 16);
  EXPECT_DOUBLE_EQ(bits_per_value(format(weight_format("int4-g64")), 4096), 4 + 24.0 / 64);
  EXPECT_DOUBLE_EQ(bits_per_value(format(weight_format("int8")), 4096), 8 + 32 / 4096.0);
  EXPECT_DOUBLE_EQ(bits_per_value(format(kv_format("int4")), 128), 4.5);
  EXPECT_DOUBLE_EQ(bits_per_value(format(kv_format("int8")), 80), 8 + 64 / 80.0);
}

TEST(Format, ActivationBlocks) {
  EXPECT_EQ(activation_block(format(weight_format("int8"))), 128);
  EXPECT_EQ(activation_block(format(weight_format("int8-g32"))), 32);
  EXPECT_EQ(activation_block(format(weight_format("int4-g64"))), 64);
}

TEST(Tier, NamesComeBack) {
  for (int i = 0; i < kTiers; ++i) {
    EXPECT_EQ(tier_from_name(tier_name(static_cast<Tier>(i))), static_cast<Tier>(i));
  }
  EXPECT_THROW(tier_from_name("gpu"), Error);
}

}  // namespace
}  // namespace penstock
