#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/crc32c_isa.h"

namespace penstock {
namespace {

// Bit by bit, from the definition.
uint32_t slow_crc32c(const std::vector<unsigned char>& data) {
  uint32_t state = 0xffffffffu;
  for (const unsigned char byte : data) {
    state ^= byte;
    for (int bit = 0; bit < 8; ++bit) state = (state & 1) ? (state >> 1) ^ 0x82f63b78u : state >> 1;
  }
  return ~state;
}

std::vector<unsigned char> random_bytes(size_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<unsigned char> data(bytes);
  for (auto& byte : data) byte = static_cast<unsigned char>(random());
  return data;
}

TEST(Crc32c, PublishedValues) {  // RFC 3720, appendix B.4
  EXPECT_EQ(crc32c(0, "123456789", 9), 0xe3069283u);
  EXPECT_EQ(crc32c(0, std::string(32, '\0').data(), 32), 0x8a9136aau);
  EXPECT_EQ(crc32c(0, std::string(32, '\xff').data(), 32), 0x62a8ab43u);
  EXPECT_EQ(crc32c(0, nullptr, 0), 0u);
}

TEST(Crc32c, EverySizeAndAlignmentAgreesWithTheDefinition) {
  const auto data = random_bytes(9000, 11);
  for (const size_t bytes : {1, 7, 8, 9, 63, 1359, 1360, 4079, 4080, 4081, 4088, 8160, 8961}) {
    for (size_t shift = 0; shift < 9; ++shift) {
      const std::vector<unsigned char> part(data.begin() + shift, data.begin() + shift + bytes);
      const uint32_t expected = slow_crc32c(part);
      ASSERT_EQ(crc32c(0, data.data() + shift, bytes), expected) << bytes << " at " << shift;
      ASSERT_EQ(~crc32c_portable(~0u, data.data() + shift, bytes), expected);
      ASSERT_EQ(~fastest_crc32c()(~0u, data.data() + shift, bytes), expected);
    }
  }
}

TEST(Crc32c, ExtendsOverPieces) {
  const auto data = random_bytes(20000, 12);
  std::mt19937_64 random(13);
  for (int round = 0; round < 50; ++round) {
    uint32_t crc = 0;
    for (size_t done = 0; done < data.size();) {
      const size_t piece = std::min<size_t>(data.size() - done, random() % 7000);
      crc = crc32c(crc, data.data() + done, piece);
      done += piece;
    }
    ASSERT_EQ(crc, slow_crc32c(data));
  }
}

TEST(Crc32c, EverySingleBitFlipIsSeen) {
  auto data = random_bytes(5000, 14);
  const uint32_t before = crc32c(0, data.data(), data.size());
  for (size_t bit = 0; bit < data.size() * 8; bit += 13) {
    data[bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
    ASSERT_NE(crc32c(0, data.data(), data.size()), before);
    data[bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
  }
}

}  // namespace
}  // namespace penstock
