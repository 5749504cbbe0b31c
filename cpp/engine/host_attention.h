// Attention on the processor beside an accelerator: stores keys and values in the pages that live
// below the device, and attends for decoding requests over them as they are stored. One step is one
// task of the lane host_compute.
#pragma once

#include <span>
#include <string_view>

#include "base/lane.h"
#include "device/cpu/cpu_compute.h"
#include "engine/binding.h"
#include "model/spec.h"
#include "plan/exchange.h"

namespace penstock {

class HostAttention {
 public:
  struct Parts {
    LaneSet* lanes;
    const ModelSpec* spec;
    KvLayout kv;
    Compute compute;
    ExchangeLayout exchange;
    std::string_view isa;
    int threads;
    bool pin_threads;
    Budget* host;
    LaneOptions lane;
  };
  // Opens the lane; scratch is charged to the host budget.
  explicit HostAttention(const Parts& parts);
  ~HostAttention();

  // The spans of one layer; rows are in `exchange`, a host slot.
  Ticket run(const LayerSpans& spans, int layer, std::byte* exchange, LaneTask task);

 private:
  Parts parts_;
  CpuCompute compute_;
};

}  // namespace penstock
