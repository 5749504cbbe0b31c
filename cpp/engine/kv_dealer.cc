#include "engine/kv_dealer.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"

namespace penstock {

KvDealer::KvDealer(const MemoryPlan& memory, const ResolvedPolicy& policy, bool accelerator)
    : split_(policy.kv_split), unit_(kv_cut_pages(policy)) {
  const double rows = std::max(1, policy.max_sequences);
  disk_ = static_cast<double>(memory.kv_disk_sequences) / rows;
  host_ = static_cast<double>(memory.kv_host_sequences) / rows;
  below_ = policy.kv.disk + (accelerator ? policy.kv.host : 0);
}

int64_t KvDealer::cut(double pages, int64_t most) const {
  const auto units = static_cast<int64_t>(std::llround(pages / static_cast<double>(unit_)));
  const int64_t below = std::max<int64_t>(0, units) * unit_;
  return below >= most ? kAllPages : below;
}

KvHome KvDealer::deal(int64_t pages) const {
  if (split_) {
    const bool disk = disk_ + owed_disk_ >= host_ + owed_host_ && disk_ > 0;
    const double wanted = owed_below_ + below_ * static_cast<double>(pages);
    const Tier tier = disk ? Tier::disk : Tier::host;
    if (below_ <= 0 || below_ >= 1) return {tier, below_ > 0 ? kAllPages : 0};
    return {tier, cut(wanted, pages)};
  }
  const double here = owed_here_ + 1 - disk_ - host_, host = owed_host_ + host_,
               disk = owed_disk_ + disk_;
  constexpr double kSame = 1e-9;
  if (here >= std::max(host, disk) - kSame && disk_ + host_ < 1 - kSame) return {};
  return {host > disk + kSame ? Tier::host : Tier::disk, kAllPages};
}

KvHome KvDealer::join(const KvHome& wanted, const KvHome& donor, int64_t shared_pages) const {
  if (shared_pages == 0) return wanted;
  if (shared_pages > donor.below_pages) return donor;  // what follows is where the model computes
  const int64_t least = unit_ * ceil_div(shared_pages, unit_);
  const bool same = wanted.below == donor.below;
  return {donor.below, std::max(least, same ? wanted.below_pages : 0)};
}

void KvDealer::commit(const KvHome& home, int64_t pages) {
  const int64_t below = home.below_of(pages);
  const auto most = static_cast<double>(unit_);  // what joined requests have beyond is let go
  owed_below_ += below_ * static_cast<double>(pages) - static_cast<double>(below);
  owed_below_ = std::clamp(owed_below_, -most, most);
  owed_disk_ += disk_ - (home.on_disk() ? 1 : 0);
  owed_host_ += host_ - (home.on_host() ? 1 : 0);
  owed_here_ += 1 - disk_ - host_ - (home.below_pages == 0 ? 1 : 0);
}

std::vector<KvHome> KvDealer::possible(int64_t pages) const {
  std::vector<KvHome> homes;
  if (!split_ && disk_ + host_ < 1 - 1e-9) homes.push_back({});
  for (const Tier tier : {Tier::host, Tier::disk}) {
    if ((tier == Tier::host ? host_ : disk_) <= 0) continue;
    if (!split_ || below_ >= 1) {
      homes.push_back({tier, kAllPages});
      continue;
    }
    const auto unit = static_cast<double>(unit_);
    for (const double off : {-unit, 0.0, unit}) {
      homes.push_back({tier, cut(below_ * static_cast<double>(pages) + off, pages)});
    }
  }
  if (homes.empty()) homes.push_back({});
  return homes;
}

}  // namespace penstock
