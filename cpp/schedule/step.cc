#include "schedule/step.h"

namespace penstock {

LaneKind lane_of(StepKind kind) {
  switch (kind) {
    case StepKind::panel_read:
    case StepKind::embed_gather:
    case StepKind::kv_read:
    case StepKind::activation_read:
      return LaneKind::disk_read;
    case StepKind::panel_upload:
    case StepKind::embed_upload:
    case StepKind::kv_upload:
    case StepKind::exchange_upload:
    case StepKind::activation_upload:
      return LaneKind::h2d;
    case StepKind::kv_write:
    case StepKind::activation_write:
      return LaneKind::disk_write;
    case StepKind::logits_download:
    case StepKind::exchange_download:
    case StepKind::activation_download:
      return LaneKind::d2h;
    case StepKind::compute:
      return LaneKind::compute;
    case StepKind::host_attention:
      return LaneKind::host_compute;
  }
  return LaneKind::compute;
}

}  // namespace penstock
