// The names of one object, to find duplicates: exact, without an allocation per name. Not thread
// safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

class NameSet {
 public:
  bool insert(std::string_view name);  // false: it is there already, and stays the only one
  void clear();                        // keeps the memory
  size_t size() const { return entries_.size(); }
  std::string_view last() const;  // the name inserted last; the set must not be empty

 private:
  struct Entry {
    size_t begin;
    uint32_t bytes, hash;
  };
  std::string_view name_of(const Entry& entry) const {
    return std::string_view(pool_).substr(entry.begin, entry.bytes);
  }
  bool contains(std::string_view name, uint32_t hash) const;
  void place(uint32_t index);
  void grow();

  std::string pool_;  // all names, one after the other
  std::vector<Entry> entries_;
  std::vector<uint32_t>
      table_;  // open addressing: index + 1, 0 is free; empty while the set is small
};

}  // namespace penstock
