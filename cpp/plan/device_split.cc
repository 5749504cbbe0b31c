#include "plan/device_split.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace penstock {
namespace {

constexpr int kNone = std::numeric_limits<int>::max();

bool comes_first(Role role) {
  return role == Role::token_embed || role == Role::position_embed || role == Role::project_in;
}

}  // namespace

DeviceSplit::DeviceSplit(const std::vector<int>& layers) {
  int end = 0;
  for (const int count : layers) ends_.push_back(end += count);
  if (ends_.empty()) ends_.push_back(kNone);
  ends_.back() = kNone;
}

int DeviceSplit::of_layer(int layer) const {
  return static_cast<int>(std::upper_bound(ends_.begin(), ends_.end(), layer) - ends_.begin());
}

int DeviceSplit::of_module(const Module& module) const {
  if (module.kind == ModuleKind::embed) return 0;
  return module.kind == ModuleKind::head ? last() : of_layer(module.layer);
}

int DeviceSplit::of_weight(const WeightInfo& weight) const {
  if (weight.layer >= 0) return of_layer(weight.layer);
  return comes_first(weight.role) ? 0 : last();
}

double DeviceSplit::largest_share(int64_t layers) const {
  int64_t begin = 0, most = 0;
  for (const int end : ends_) {
    const int64_t stop = std::min<int64_t>(end, layers);
    most = std::max(most, stop - begin);
    begin = stop;
  }
  return static_cast<double>(most) / static_cast<double>(std::max<int64_t>(1, layers));
}

std::vector<int> split_by_capacity(const SplitSizes& sizes, std::span<const uint64_t> capacities) {
  const auto devices = static_cast<int>(capacities.size());
  if (devices > sizes.layers) {
    throw Error(ErrorCode::invalid_argument, "more devices than layers",
                {.file = {},
                 .field = "device",
                 .found = std::to_string(devices) + " devices",
                 .allowed = "at most " + std::to_string(sizes.layers)});
  }
  std::vector<int> layers(devices, 1);
  // How full a device would be with one layer more.
  const auto fill = [&](int device) {
    const uint64_t head = device == devices - 1 ? sizes.head_bytes : 0;
    const double bytes = static_cast<double>(head + (layers[device] + 1) * sizes.layer_bytes);
    return bytes / static_cast<double>(std::max<uint64_t>(1, capacities[device]));
  };
  for (int left = sizes.layers - devices; left > 0; --left) {
    int emptiest = 0;
    for (int device = 1; device < devices; ++device) {
      if (fill(device) < fill(emptiest)) emptiest = device;
    }
    ++layers[emptiest];
  }
  return layers;
}

}  // namespace penstock
