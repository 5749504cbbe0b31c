#include "base/name_set.h"

#include <algorithm>
#include <functional>

namespace penstock {
namespace {

constexpr size_t kSmall = 8;  // up to here a look at every name is faster than a table

}  // namespace

bool NameSet::contains(std::string_view name, uint32_t hash) const {
  const auto same = [&](const Entry& entry) {
    return entry.hash == hash && name_of(entry) == name;
  };
  if (table_.empty()) return std::any_of(entries_.begin(), entries_.end(), same);
  const size_t mask = table_.size() - 1;
  for (size_t at = hash & mask; table_[at] != 0; at = (at + 1) & mask) {
    if (same(entries_[table_[at] - 1])) return true;
  }
  return false;
}

void NameSet::place(uint32_t index) {
  const size_t mask = table_.size() - 1;
  size_t at = entries_[index].hash & mask;
  while (table_[at] != 0) at = (at + 1) & mask;
  table_[at] = index + 1;
}

void NameSet::grow() {
  table_.assign(std::max(kSmall, table_.size()) * 4, 0);
  for (uint32_t i = 0; i < entries_.size(); ++i) place(i);
}

bool NameSet::insert(std::string_view name) {
  const auto hash = static_cast<uint32_t>(std::hash<std::string_view>{}(name));
  if (contains(name, hash)) return false;
  entries_.push_back({pool_.size(), static_cast<uint32_t>(name.size()), hash});
  pool_ += name;
  if (entries_.size() <= kSmall) return true;
  if (entries_.size() * 2 > table_.size()) {
    grow();
  } else {
    place(static_cast<uint32_t>(entries_.size() - 1));
  }
  return true;
}

void NameSet::clear() {
  pool_.clear();
  entries_.clear();
  table_.clear();
}

std::string_view NameSet::last() const { return name_of(entries_.back()); }

}  // namespace penstock
