#include "memory/buffer.h"

#include <utility>

#include "base/error.h"
#include "memory/host_pages.h"

namespace penstock {

Buffer::Buffer(std::byte* data, size_t bytes, Reservation paid,
               std::function<void(std::byte*, size_t)> free)
    : data_(data), bytes_(bytes), paid_(std::move(paid)), free_(std::move(free)) {}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      paid_(std::move(other.paid_)),
      free_(std::exchange(other.free_, nullptr)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  Buffer old(std::move(*this));
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  paid_ = std::move(other.paid_);
  free_ = std::exchange(other.free_, nullptr);
  return *this;
}

Buffer::~Buffer() {
  if (free_) free_(data_, bytes_);
}

Buffer allocate_host(size_t bytes, Budget& budget, const std::string& what) {
  if (bytes == 0) return {};
  const size_t charged = whole_pages(bytes);
  Reservation paid = budget.reserve(charged == 0 ? bytes : charged, what);
  if (charged == 0) {
    throw Error(ErrorCode::budget, what + ": no system has " + std::to_string(bytes) + " bytes");
  }
  std::byte* data = map_host_pages(charged);
  return Buffer(data, bytes, std::move(paid), [](std::byte* freed, size_t asked) {
    unmap_host_pages(freed, whole_pages(asked));
  });
}

}  // namespace penstock
