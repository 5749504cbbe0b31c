// What a request must be to be accepted: tokens, sampling and length that the model allows, and
// room for its pages when it is alone, wherever they may be put.
#pragma once

#include "engine/kv_dealer.h"
#include "engine/live_request.h"
#include "model/spec.h"

namespace penstock {

class RequestCheck {
 public:
  struct Parts {
    const ModelSpec* spec = nullptr;
    const MemoryPlan* memory = nullptr;
    const ResolvedPolicy* policy = nullptr;
    const KvStore* kv = nullptr;
    bool accelerator = false;
    int max_context = 0;
  };
  explicit RequestCheck(const Parts& parts);

  // Both throw Error(invalid_argument) naming the field.
  void check_terms(const Request& request) const;
  void check_room(const LiveRequest& request) const;

 private:
  Parts parts_;
  KvDealer dealer_;
};

}  // namespace penstock
