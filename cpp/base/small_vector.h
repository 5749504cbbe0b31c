// A vector of plain values whose first few need no memory of their own: for the many small lists of
// a schedule.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace penstock {

template <class T, size_t kNear>
class SmallVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  using value_type = T;
  using iterator = T*;
  using const_iterator = const T*;

  SmallVector() = default;
  SmallVector(std::initializer_list<T> values) {
    for (const T& value : values) push_back(value);
  }

  void push_back(const T& value) {
    if (size_ < kNear) {
      near_[size_++] = value;
      return;
    }
    if (size_ == kNear) far_.assign(near_.begin(), near_.end());
    far_.push_back(value);
    ++size_;
  }
  void clear() { size_ = 0; }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return size_ <= kNear ? near_.data() : far_.data(); }
  const T* data() const { return size_ <= kNear ? near_.data() : far_.data(); }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  const T& at(size_t i) const {
    check(i < size_, "an element that is there");
    return data()[i];
  }
  const T& front() const { return at(0); }
  const T& back() const { return at(size_ - 1); }

  friend bool operator==(const SmallVector& a, const SmallVector& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::array<T, kNear> near_{};
  std::vector<T> far_;  // all of them, once they are more
  size_t size_ = 0;
};

}  // namespace penstock
