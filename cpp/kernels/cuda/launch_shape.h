// Geometry that launches share.
#pragma once

#include "kernels/cuda/elementwise.h"

namespace penstock::cuda {

// One thread for each of `count` elements.
inline LaunchShape for_elements(int64_t count) {
  return {blocks_of(count, kElementThreads), kElementThreads, 0};
}
// One warp for each of `count` tasks.
inline LaunchShape for_warps(int64_t count, int threads) {
  return {blocks_of(count, threads / kWarp), threads, 0};
}

}  // namespace penstock::cuda
