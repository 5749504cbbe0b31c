// FNV-1a over 128 bits: tells apart files that changed by accident or by an update. Not for hostile
// collisions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {

class Digest {
 public:
  Digest& add(std::string_view bytes);  // with its length, so that ("a", "bc") is not ("ab", "c")
  Digest& add(uint64_t value);
  std::string hex() const;  // 32 digits

 private:
  void mix(uint8_t byte);
  uint64_t high_ = 0x6c62272e07bb0142u;
  uint64_t low_ = 0x62b821756295c58du;
};

}  // namespace penstock
