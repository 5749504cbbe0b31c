// The schedule as data. One sweep visits every layer once; inside a visit it serves every
// micro-batch. Steps name the steps they follow; a step may follow steps of the sweep before (ids
// are global and ascending).
#pragma once

#include <cstdint>
#include <vector>

#include "base/lane.h"
#include "base/small_vector.h"
#include "tensor/tier.h"

namespace penstock {

enum class StepKind : uint8_t {
  panel_read,        // disk -> host ring slot                      lane disk_read
  panel_upload,      // host (ring slot or resident) -> device slot lane h2d
  embed_gather,      // embedding rows -> host gather slot          lane disk_read
  embed_upload,      // gather slot -> device                       lane h2d
  kv_read,           // disk pages -> kv staging slot               lane disk_read
  kv_write,          // full pages -> disk                          lane disk_write
  activation_read,   // disk -> activation slot                  lane disk_read
  activation_write,  // activation slot -> disk                  lane disk_write
  compute,           // all ops of a visit for one micro-batch      lane compute
  logits_download,   // device -> host logits                     lane d2h
  hidden_send,       // hidden rows of a micro-batch -> next device lane d2h
  // Only beside an accelerator:
  kv_upload,          // pages of host memory or of a kv slot -> device kv slot   lane h2d
  exchange_download,  // rows of q, k, v -> exchange slot                         lane d2h
  host_attention,     // appends k, v to pages below; attends for decoding rows   lane host_compute
  exchange_upload,    // attended rows and states -> device exchange slot         lane h2d
  activation_upload,  // hidden rows of a micro-batch -> device activation slot   lane h2d
  activation_download,  // and back                                                 lane d2h
};
inline constexpr int kStepKinds = 17;
LaneKind lane_of(StepKind kind);
constexpr bool is_on_device(LaneKind lane) {
  return lane == LaneKind::compute || lane == LaneKind::h2d || lane == LaneKind::d2h;
}
const char* step_label(StepKind kind);  // for people

enum class SlotKind : uint8_t {
  none,
  host_ring,
  device_ring,
  gather,
  device_gather,
  kv,
  activation,  // CPU: where it computes; accelerator: of rows on disk, in host memory
  device_kv,
  exchange,
  device_exchange,
  device_activation,
};
inline constexpr int kSlotKinds = 11;
// Slots that each accelerator has for itself.
constexpr bool is_on_device(SlotKind kind) {
  return kind == SlotKind::device_ring || kind == SlotKind::device_gather ||
         kind == SlotKind::device_kv || kind == SlotKind::device_exchange ||
         kind == SlotKind::device_activation;
}

struct SlotUse {
  SlotKind kind = SlotKind::none;
  int index = 0;
  bool write = false;    // fills the slot
  bool release = false;  // last use: the content is dead afterwards
};

struct Step {
  uint64_t id = 0;  // 1, 2, 3, ... over the life of the engine
  StepKind kind = StepKind::compute;
  LaneId lane;         // its ordinal is the device of the visit, on lanes that devices have
  int visit = -1;      // index into the sweep's visits; of the NEXT sweep when `ahead`
  int batch = -1;      // micro-batch
  int panel = -1;      // index into the visit's panels
  bool ahead = false;  // a prefetch for the next sweep
  uint64_t bytes = 0;  // moved by this step; host_attention: keys and values read
  // compute: first the streamed panels of the visit in their order (one slot each), then gather,
  // kv, activation.
  SmallVector<SlotUse, 2> slots;
  SmallVector<uint64_t, 3> after;  // ids, all smaller than this id
};

struct Schedule {
  uint64_t first_id = 1;
  std::vector<Step> steps;  // ids first_id, first_id + 1, ...
};

}  // namespace penstock
