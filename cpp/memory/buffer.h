// Move-only owner of bytes in one tier, with the reservation that pays for them.
#pragma once

#include <cstddef>
#include <functional>

#include "memory/budget.h"

namespace penstock {

class Buffer {
 public:
  Buffer() = default;
  // `free` is called once with (data, bytes).
  Buffer(std::byte* data, size_t bytes, Reservation paid,
         std::function<void(std::byte*, size_t)> free);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  Reservation paid_;
  std::function<void(std::byte*, size_t)> free_;
};

// Anonymous pages, 4096-aligned, rounded up to whole pages and charged as such; huge pages are
// asked for from 2 MiB on. Throws Error(budget) or, when the system has no memory, Error(budget)
// with that reason.
Buffer allocate_host(size_t bytes, Budget& budget, const std::string& what);

}  // namespace penstock
