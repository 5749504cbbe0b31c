// What launchers of products have in common that launch nothing and only note what would be
// (kernels/cuda/launch.h): tables stay where they are, as if the host's memory were the GPU's.
#pragma once

#include "kernels/cuda/codes.h"

namespace penstock::test {

struct NotingLauncher {
  static constexpr int64_t kRoom = int64_t{16} << 20;  // of workspace
  bool tiles = true;
  std::byte room[1] = {};

  template <class T>
  const T* upload(const T* table, int64_t) {
    return table;
  }
  std::byte* workspace() { return room; }
  size_t workspace_bytes() const { return kRoom; }
  bool bf16_tiles() const { return tiles; }
  cuda::SharedRoom shared_room() const { return cuda::shared_room(90); }
  int multiprocessors() const { return 132; }
};

}  // namespace penstock::test
