#include "schedule/slot_book.h"

#include <iterator>

namespace penstock {

const char* slot_name(SlotKind kind) {
  constexpr const char* kNames[] = {
      "no",         "host ring", "device ring", "gather",          "device gather",    "KV",
      "activation", "device KV", "exchange",    "device exchange", "device activation"};
  static_assert(std::size(kNames) == kSlotKinds);
  return kNames[static_cast<int>(kind)];
}

void SlotBook::use(const Step& step, const Report& report) {
  for (const SlotUse& one : step.slots) use_one(step, one, report);
}

void SlotBook::use_one(const Step& step, const SlotUse& use, const Report& report) {
  const std::string slot = std::string(slot_name(use.kind)) + " slot " + std::to_string(use.index);
  if (use.index < 0 || use.index >= options_.slots(use.kind)) {
    return report(step, slot + " does not exist");
  }
  Stay& now = stays_[slot_of(step, use)];
  if (use.write) {
    fill(step, slot, &now, report);
  } else if (!now.live) {
    return report(step, slot + " holds nothing");
  } else {
    if (!order_.before(now.filler->id, step.id)) report(step, slot + " may not be filled yet");
    now.users.push_back(step.id);
  }
  if (use.release) release(step, slot, &now, report);
}

void SlotBook::fill(const Step& step, const std::string& slot, Stay* now,
                    const Report& report) const {
  if (now->live) report(step, slot + " is filled before it was given back");
  for (uint64_t user : now->users) {
    if (order_.before(user, step.id)) continue;
    report(step, slot + " is filled while step " + std::to_string(user) + " may use it");
  }
  *now = {&step, {step.id}, true};
}

void SlotBook::release(const Step& step, const std::string& slot, Stay* now,
                       const Report& report) const {
  for (uint64_t user : now->users) {
    if (user == step.id || order_.before(user, step.id)) continue;
    report(step, slot + " is given back while step " + std::to_string(user) + " may use it");
  }
  now->live = false;
}

const SlotUse* SlotBook::find_use(const Step& step, SlotKind kind) {
  for (const SlotUse& use : step.slots) {
    if (use.kind == kind) return &use;
  }
  return nullptr;
}

const Step* SlotBook::filler(const Step& step, SlotKind kind) const {
  const SlotUse* use = find_use(step, kind);
  return use != nullptr ? filler(step, *use) : nullptr;
}

const Step* SlotBook::filler(const Step& step, const SlotUse& use) const {
  const auto found = stays_.find(slot_of(step, use));
  return found != stays_.end() ? found->second.filler : nullptr;
}

}  // namespace penstock
