#include "store/activation_store.h"

#include "base/checked.h"

namespace penstock {

ActivationStore::ActivationStore(const ActivationStoreInput& input)
    : hidden_(input.hidden),
      unit_bytes_(round_up(input.batch_tokens * input.hidden * 4, kIoAlignment)) {
  if (input.memory_tokens > 0) {
    memory_ = input.device->allocate(input.memory_tokens * hidden_ * 4, *input.memory, "hidden");
  }
  if (input.host_tokens > 0) {
    host_ = allocate_host(input.host_tokens * hidden_ * 4, *input.host, "hidden");
  }
  if (input.slots > 0) {
    slots_ = input.device->allocate(input.slots * unit_bytes_, *input.memory, "activation slots");
  }
  if (input.host_slots > 0) {
    host_slots_ = allocate_host(input.host_slots * unit_bytes_, *input.host, "activation slots");
  }
  if (input.disk_batches == 0) return;
  spill_ = SpillFile(input.folder, {unit_bytes_, static_cast<uint64_t>(input.disk_batches)},
                     *input.disk, "activations");
}

float* ActivationStore::rows(int64_t first_token) const {
  return reinterpret_cast<float*>(memory_.data()) + first_token * hidden_;
}

float* ActivationStore::host_rows(int64_t first_token) const {
  return reinterpret_cast<float*>(host_.data()) + first_token * hidden_;
}

float* ActivationStore::slot(int index) const {
  return reinterpret_cast<float*>(slots_.data() + index * unit_bytes_);
}

float* ActivationStore::host_slot(int index) const {
  return reinterpret_cast<float*>(host_slots_.data() + index * unit_bytes_);
}

}  // namespace penstock
