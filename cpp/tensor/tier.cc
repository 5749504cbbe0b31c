#include "tensor/tier.h"

#include "base/error.h"

namespace penstock {

std::string_view tier_name(Tier tier) {
  switch (tier) {
    case Tier::device:
      return "device";
    case Tier::host:
      return "host";
    case Tier::disk:
      return "disk";
  }
  return "unknown";
}

Tier tier_from_name(std::string_view name) {
  for (int i = 0; i < kTiers; ++i) {
    const Tier tier = static_cast<Tier>(i);
    if (tier_name(tier) == name) return tier;
  }
  throw Error(ErrorCode::invalid_argument, "unknown tier",
              ErrorDetail{.file = {},
                          .field = {},
                          .found = escape_for_message(name),
                          .allowed = "device, host, disk"});
}

std::string place_name(Place place) {
  const std::string tier(tier_name(place.tier));
  return place.ordinal == 0 ? tier : tier + ":" + std::to_string(place.ordinal);
}

}  // namespace penstock
