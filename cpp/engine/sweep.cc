#include "engine/sweep.h"

#include "base/checked.h"

namespace penstock {

DiskSpan disk_span(const SpanPlan& span, int page_tokens) {
  const int64_t end = span.position + span.count();
  DiskSpan result;
  result.full = span.position / page_tokens;
  result.completed = end / page_tokens - result.full;
  result.pages = ceil_div(end, page_tokens);
  return result;
}

}  // namespace penstock
