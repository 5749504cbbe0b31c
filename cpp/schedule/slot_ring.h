// A ring of slots while a sweep is being built: slots are taken in turn, each when an emitted step
// has given it back.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "schedule/build.h"

namespace penstock {

class SlotRing {
 public:
  struct Taken {
    int slot = 0;
    uint64_t after = 0;  // step that gave the slot back, 0: never used
  };

  SlotRing() = default;
  SlotRing(int slots, int64_t next, std::vector<uint64_t> release)
      : next_(next), release_(std::move(release)), taken_(slots, false) {
    check(release_.empty() || release_.size() == taken_.size(),
          "slots stay the same from sweep to sweep");
    release_.resize(taken_.size(), 0);
  }

  bool can_take() const { return !taken_.empty() && !taken_[next_slot()]; }
  Taken take() {
    check(can_take(), "a slot is taken before it was given back");
    const int slot = next_slot();
    taken_[slot] = true;
    ++next_;
    return {slot, release_[slot]};
  }
  void occupy(int slot) { taken_.at(slot) = true; }  // by the sweep before
  void release(int slot, uint64_t id) {
    check(taken_.at(slot), "a slot is given back once");
    taken_[slot] = false;
    release_[slot] = id;
  }

  void save(Carry* carry, SlotKind kind) const {
    carry->rings[static_cast<int>(kind)] = {next_, release_};
  }

 private:
  int next_slot() const { return static_cast<int>(next_ % static_cast<int64_t>(taken_.size())); }

  int64_t next_ = 0;
  std::vector<uint64_t> release_;
  std::vector<bool> taken_;
};

inline SlotRing open_ring(const BuildOptions& options, const Carry& carry, SlotKind kind) {
  const Carry::Ring& ring = carry.rings[static_cast<int>(kind)];
  return SlotRing(options.slots(kind), ring.next, ring.release);
}

}  // namespace penstock
