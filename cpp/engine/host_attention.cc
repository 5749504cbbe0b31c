#include "engine/host_attention.h"

#include "device/lane_use.h"
#include "engine/visit_runner.h"

namespace penstock {
namespace {

constexpr LaneId kLane{LaneKind::host_compute, 0};

float* floats(std::byte* data) { return reinterpret_cast<float*>(data); }

}  // namespace

HostAttention::HostAttention(const Parts& parts)
    : parts_(parts), compute_(parts.isa, parts.threads, *parts.host, parts.pin_threads) {
  if (!parts_.lanes->is_open(kLane)) parts_.lanes->open(kLane, parts.lane);
}

HostAttention::~HostAttention() { settle(*parts_.lanes, kLane); }

Ticket HostAttention::run(const LayerSpans& spans, int layer, std::byte* exchange, LaneTask task) {
  const ExchangeLayout& layout = parts_.exchange;
  KvAppendParams append;
  append.layout = parts_.kv;
  append.spans = spans.host_append.data();
  append.span_count = static_cast<int32_t>(spans.host_append.size());
  append.k = floats(exchange + layout.k_offset());
  append.v = floats(exchange + layout.v_offset());
  append.k_stride = append.v_stride = layout.kv_width;
  AttentionParams attend = attention_params(*parts_.spec, layer, parts_.kv, parts_.compute);
  attend.spans = spans.host_attend.data();
  attend.span_count = static_cast<int32_t>(spans.host_attend.size());
  if (attend.span_count > 0) {
    attend.q = floats(exchange + layout.q_offset());
    attend.out = floats(exchange + layout.attended_offset());
    attend.states = reinterpret_cast<AttentionState*>(exchange + layout.states_offset());
    attend.q_stride = attend.out_stride = layout.q_width;
  }
  task.begin = [this, append, attend] {
    if (append.span_count > 0) compute_.run(append);
    if (attend.span_count > 0) compute_.run(attend);
  };
  return parts_.lanes->submit(kLane, std::move(task));
}

}  // namespace penstock
