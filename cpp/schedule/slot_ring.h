// A ring of slots while a sweep is being built: slots are taken in turn, each when an emitted step
// has given it back.
#pragma once

#include <algorithm>
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

  void save(Carry* carry, SlotKind kind, int device) const {
    carry->rings.resize(std::max(carry->rings.size(), static_cast<size_t>(device) + 1));
    carry->rings[device][static_cast<int>(kind)] = {next_, release_};
  }

 private:
  int next_slot() const { return static_cast<int>(next_ % static_cast<int64_t>(taken_.size())); }

  int64_t next_ = 0;
  std::vector<uint64_t> release_;
  std::vector<bool> taken_;
};

// The rings of one kind, by device; of host slots there is one.
class SlotRings {
 public:
  SlotRings() = default;
  SlotRings(const BuildOptions& options, const Carry& carry, SlotKind kind) : kind_(kind) {
    const int count = is_on_device(kind) ? options.devices : 1;
    for (int device = 0; device < count; ++device) {
      Carry::Ring ring;
      if (!carry.rings.empty()) ring = carry.rings.at(device)[static_cast<int>(kind)];
      rings_.emplace_back(options.slots(kind), ring.next, ring.release);
    }
  }

  SlotRing& of(int device) { return rings_.at(is_on_device(kind_) ? device : 0); }
  void save(Carry* carry) const {
    for (size_t device = 0; device < rings_.size(); ++device) {
      rings_[device].save(carry, kind_, static_cast<int>(device));
    }
  }

 private:
  SlotKind kind_ = SlotKind::none;
  std::vector<SlotRing> rings_;
};

}  // namespace penstock
