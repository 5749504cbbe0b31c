#include "checkpoint/digest.h"

namespace penstock {

// state *= 2^88 + 0x13b, modulo 2^128.
void Digest::mix(uint8_t byte) {
  const uint64_t low = low_ ^ byte;
  const unsigned __int128 product = static_cast<unsigned __int128>(low) * 0x13bu;
  low_ = static_cast<uint64_t>(product);
  high_ = high_ * 0x13bu + static_cast<uint64_t>(product >> 64) + (low << 24);
}

Digest& Digest::add(uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) mix(static_cast<uint8_t>(value >> shift));
  return *this;
}

Digest& Digest::add(std::string_view bytes) {
  add(uint64_t{bytes.size()});
  for (const char c : bytes) mix(static_cast<uint8_t>(c));
  return *this;
}

std::string Digest::hex() const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint64_t word : {high_, low_}) {
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[word >> shift & 15];
  }
  return text;
}

}  // namespace penstock
