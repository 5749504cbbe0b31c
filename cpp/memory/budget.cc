#include "memory/budget.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/error.h"

namespace penstock {
namespace {

struct Count {
  uint64_t used = 0, peak = 0;

  void add(uint64_t bytes) {
    used += bytes;
    peak = std::max(peak, used);
  }
};

}  // namespace

struct Budget::State {
  Place place;
  uint64_t limit = 0;
  mutable std::mutex mutex;
  Count total;
  std::map<std::string, Count> labels;
};

Reservation::Reservation(Budget* budget, uint64_t bytes, std::string what)
    : budget_(budget), bytes_(bytes), what_(std::move(what)) {}

Reservation::Reservation(Reservation&& other) noexcept
    : budget_(std::exchange(other.budget_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      what_(std::move(other.what_)) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this == &other) return *this;
  release();
  budget_ = std::exchange(other.budget_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  what_ = std::move(other.what_);
  return *this;
}

Reservation::~Reservation() { release(); }

void Reservation::release() {
  Budget* budget = std::exchange(budget_, nullptr);
  const uint64_t bytes = std::exchange(bytes_, 0);
  if (budget) budget->give_back(bytes, what_);
}

Budget::Budget(Place place, uint64_t limit_bytes) : state_(std::make_unique<State>()) {
  state_->place = place;
  state_->limit = limit_bytes;
}

Budget::~Budget() = default;

Reservation Budget::reserve(uint64_t bytes, const std::string& what) {
  Reservation paid(nullptr, 0, what);
  std::lock_guard lock(state_->mutex);
  Count& total = state_->total;
  const uint64_t left = state_->limit - total.used;
  if (bytes > left) {
    const std::string tier(tier_name(state_->place.tier));
    throw Error(ErrorCode::budget,
                "does not fit into the " + tier + " budget: asked " + std::to_string(bytes) +
                    " bytes, used " + std::to_string(total.used) + ", limit " +
                    std::to_string(state_->limit),
                {.file = {},
                 .field = what,
                 .found = std::to_string(bytes) + " bytes",
                 .allowed = std::to_string(left) + " bytes"});
  }
  state_->labels[what].add(bytes);
  total.add(bytes);
  paid.budget_ = this;
  paid.bytes_ = bytes;
  return paid;
}

void Budget::give_back(uint64_t bytes, const std::string& what) {
  std::lock_guard lock(state_->mutex);
  state_->total.used -= bytes;
  state_->labels.find(what)->second.used -= bytes;
}

Place Budget::place() const { return state_->place; }
uint64_t Budget::limit() const { return state_->limit; }

uint64_t Budget::used() const {
  std::lock_guard lock(state_->mutex);
  return state_->total.used;
}

uint64_t Budget::peak() const {
  std::lock_guard lock(state_->mutex);
  return state_->total.peak;
}

std::map<std::string, uint64_t> Budget::peak_by_label() const {
  std::lock_guard lock(state_->mutex);
  std::map<std::string, uint64_t> peaks;
  for (const auto& [label, count] : state_->labels) peaks[label] = count.peak;
  return peaks;
}

}  // namespace penstock
