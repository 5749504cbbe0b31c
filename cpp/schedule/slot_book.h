// Who is in which slot, for the checker: what a step finds there, and whether it may fill it, use
// it or give it back.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "schedule/build.h"
#include "schedule/order.h"

namespace penstock {

const char* slot_name(SlotKind kind);  // for people

class SlotBook {
 public:
  // What is in a slot from its filling to its release.
  struct Stay {
    const Step* filler = nullptr;
    std::vector<uint64_t> users;  // the filler first
    bool live = false;
  };
  using Report = std::function<void(const Step&, const std::string&)>;

  // Both must outlive this.
  SlotBook(const BuildOptions& options, const StepOrder& order)
      : options_(options), order_(order) {}

  // Notes what the step, which `order` knows, does with its slots.
  void use(const Step& step, const Report& report);
  // The step that filled a slot which `step` uses; null when it uses none of this kind.
  const Step* filler(const Step& step, SlotKind kind) const;
  const Step* filler(const Step& step, const SlotUse& use) const;
  static const SlotUse* find_use(const Step& step, SlotKind kind);
  // Calls f(kind, stay) for every slot that was ever filled.
  template <class F>
  void each(F f) const {
    for (const auto& [slot, stay] : stays_) f(std::get<SlotKind>(slot), stay);
  }

 private:
  using Slot = std::tuple<SlotKind, int, int>;  // kind, device, index
  static Slot slot_of(const Step& step, const SlotUse& use) {
    return {use.kind, is_on_device(use.kind) ? step.lane.ordinal : 0, use.index};
  }
  void use_one(const Step& step, const SlotUse& use, const Report& report);
  void fill(const Step& step, const std::string& slot, Stay* now, const Report& report) const;
  void release(const Step& step, const std::string& slot, Stay* now, const Report& report) const;

  const BuildOptions& options_;
  const StepOrder& order_;
  std::map<Slot, Stay> stays_;
};

}  // namespace penstock
