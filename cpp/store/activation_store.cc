#include "store/activation_store.h"

#include "base/checked.h"

namespace penstock {

ActivationStore::ActivationStore(const ActivationStoreInput& input)
    : hidden_(input.hidden),
      memory_tokens_(input.memory_tokens),
      host_tokens_(input.host_tokens),
      disk_batches_(static_cast<uint64_t>(input.disk_batches)),
      unit_bytes_(round_up(input.batch_tokens * input.hidden * 4, kIoAlignment)) {
  for (const DeviceMemory& device : input.devices) {
    const size_t rows = input.sweeps * memory_tokens_ * hidden_ * 4;
    memory_.push_back(rows > 0 ? device.allocate(rows, "hidden") : Buffer{});
    const size_t slots = input.slots * unit_bytes_;
    slots_.push_back(slots > 0 ? device.allocate(slots, "activation slots") : Buffer{});
  }
  const auto beside = [&](size_t bytes, const char* what) {
    return input.devices.front().device->allocate(bytes, *input.host, what);
  };
  if (input.host_tokens > 0) {
    host_ = beside(input.sweeps * host_tokens_ * hidden_ * 4, "hidden");
  }
  if (input.host_slots > 0) {
    host_slots_ = beside(input.host_slots * unit_bytes_, "activation slots");
  }
  if (input.disk_batches == 0) return;
  spill_ = SpillFile(input.folder, {unit_bytes_, input.sweeps * disk_batches_}, *input.disk,
                     "activations");
}

float* ActivationStore::rows(int device, int sweep, int64_t first_token) const {
  return reinterpret_cast<float*>(memory_.at(device).data()) +
         (sweep * memory_tokens_ + first_token) * hidden_;
}

float* ActivationStore::host_rows(int sweep, int64_t first_token) const {
  return reinterpret_cast<float*>(host_.data()) + (sweep * host_tokens_ + first_token) * hidden_;
}

float* ActivationStore::slot(int device, int index) const {
  return reinterpret_cast<float*>(slots_.at(device).data() + index * unit_bytes_);
}

float* ActivationStore::host_slot(int index) const {
  return reinterpret_cast<float*>(host_slots_.data() + index * unit_bytes_);
}

}  // namespace penstock
