// Where bytes live. A Place is a tier of one device or host; budgets are per Place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {

enum class Tier : uint8_t { device, host, disk };
inline constexpr int kTiers = 3;
std::string_view tier_name(Tier tier);       // "device", "host", "disk"
Tier tier_from_name(std::string_view name);  // throws Error(invalid_argument)

struct Place {
  Tier tier = Tier::host;
  int ordinal = 0;
  bool operator==(const Place&) const = default;
};
std::string place_name(Place place);  // "host", "device", "device:1", ...

}  // namespace penstock
