// Layers as a pipeline over several accelerators: each has a run of them, in their order. The first
// one embeds, the last one has the head. One device, or the processor itself, has all.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/program.h"

namespace penstock {

class DeviceSplit {
 public:
  // Layers by device; empty: one device.
  explicit DeviceSplit(const std::vector<int>& layers = {});

  int devices() const { return static_cast<int>(ends_.size()); }
  int last() const { return devices() - 1; }
  int of_layer(int layer) const;
  int of_module(const Module& module) const;
  int of_weight(const WeightInfo& weight) const;
  // The largest part of `layers` layers that one device has.
  double largest_share(int64_t layers) const;

 private:
  std::vector<int> ends_;  // by device: its last layer + 1; of the last one, none
};

// What each device has to hold: a layer, and on the last one the head.
struct SplitSizes {
  int layers = 0;
  uint64_t layer_bytes = 0, head_bytes = 0;
};

// Layers by device such that the devices are as full as each other: none has less than one.
// Throws Error(invalid_argument) when there are more devices than layers.
std::vector<int> split_by_capacity(const SplitSizes& sizes, std::span<const uint64_t> capacities);

}  // namespace penstock
