// A hard ceiling on the bytes of one Place. Everything is charged before it is allocated; a
// Reservation gives back when it dies. Thread safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "tensor/tier.h"

namespace penstock {

class Budget;

// Bytes charged to a budget under a label. Move-only.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation();
  uint64_t bytes() const { return bytes_; }
  void release();

 private:
  friend class Budget;
  Reservation(Budget* budget, uint64_t bytes, std::string what);
  Budget* budget_ = nullptr;
  uint64_t bytes_ = 0;
  std::string what_;
};

class Budget {
 public:
  Budget(Place place, uint64_t limit_bytes);
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  // Throws Error(budget) naming tier, label, asked, used and limit; nothing is charged then.
  Reservation reserve(uint64_t bytes, const std::string& what);

  Place place() const;
  uint64_t limit() const;
  uint64_t used() const;
  uint64_t peak() const;
  std::map<std::string, uint64_t> peak_by_label() const;

 private:
  friend class Reservation;
  void give_back(uint64_t bytes, const std::string& what);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock
