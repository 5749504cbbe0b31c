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
    case StepKind::hidden_send:
      return LaneKind::d2h;
    case StepKind::compute:
      return LaneKind::compute;
    case StepKind::host_attention:
      return LaneKind::host_compute;
  }
  return LaneKind::compute;
}

const char* step_label(StepKind kind) {
  switch (kind) {
    case StepKind::panel_read:
      return "weights read";
    case StepKind::panel_upload:
      return "weights upload";
    case StepKind::embed_gather:
      return "embedding rows";
    case StepKind::embed_upload:
      return "embedding upload";
    case StepKind::kv_read:
      return "kv read";
    case StepKind::kv_write:
      return "kv write";
    case StepKind::activation_read:
      return "activations read";
    case StepKind::activation_write:
      return "activations write";
    case StepKind::compute:
      return "compute";
    case StepKind::logits_download:
      return "logits download";
    case StepKind::hidden_send:
      return "hidden rows to the next device";
    case StepKind::kv_upload:
      return "kv upload";
    case StepKind::exchange_download:
      return "queries, keys, values down";
    case StepKind::host_attention:
      return "host attention";
    case StepKind::exchange_upload:
      return "attended rows up";
    case StepKind::activation_upload:
      return "activations upload";
    case StepKind::activation_download:
      return "activations download";
  }
  return "";
}

}  // namespace penstock
