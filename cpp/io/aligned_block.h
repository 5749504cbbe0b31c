// Owner of a block of memory that starts at a multiple of kIoAlignment, for direct I/O. Not
// cleared.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>

#include "io/file.h"

namespace penstock {

class AlignedBlock {
 public:
  explicit AlignedBlock(size_t bytes)
      : data_(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kIoAlignment}))),
        bytes_(bytes) {}

  std::byte* data() const { return data_.get(); }
  size_t size() const { return bytes_; }
  std::span<std::byte> span() const { return {data_.get(), bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const {
      ::operator delete(data, std::align_val_t{kIoAlignment});
    }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t bytes_;
};

}  // namespace penstock
