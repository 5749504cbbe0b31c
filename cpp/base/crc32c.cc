#include "base/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#include "base/crc32c_isa.h"

namespace penstock {
namespace {

using Table = std::array<std::array<uint32_t, 256>, 8>;

// kTable[z][b]: byte b followed by z zero bytes.
constexpr Table make_table() {
  Table table{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t value = b;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value & 1) ? (value >> 1) ^ kCrc32cPolynomial : value >> 1;
    }
    table[0][b] = value;
  }
  for (size_t z = 1; z < 8; ++z) {
    for (size_t b = 0; b < 256; ++b) {
      const uint32_t before = table[z - 1][b];
      table[z][b] = (before >> 8) ^ table[0][before & 255];
    }
  }
  return table;
}

constexpr Table kTable = make_table();

uint32_t one_byte(uint32_t state, unsigned char byte) {
  return (state >> 8) ^ kTable[0][(state ^ byte) & 255];
}

}  // namespace

uint32_t crc32c_portable(uint32_t state, const unsigned char* data, size_t bytes) {
  if constexpr (std::endian::native == std::endian::little) {
    for (; bytes >= 8; data += 8, bytes -= 8) {
      uint64_t word;
      std::memcpy(&word, data, 8);
      word ^= state;
      state = 0;
      for (int i = 0; i < 8; ++i) state ^= kTable[7 - i][word >> (8 * i) & 255];
    }
  }
  for (; bytes > 0; ++data, --bytes) state = one_byte(state, *data);
  return state;
}

uint32_t crc32c(uint32_t crc, const void* data, size_t bytes) {
  static const Crc32cLoop loop = fastest_crc32c();
  return ~loop(~crc, static_cast<const unsigned char*>(data), bytes);
}

}  // namespace penstock
