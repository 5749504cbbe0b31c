#include "engine/span_pages.h"

#include <algorithm>

#include "base/checked.h"

namespace penstock {

SpanPages span_pages(const SpanPlan& span, const PageRules& rules) {
  const KvHome& home = span.kv->home;
  const int64_t page = rules.page_tokens, end = span.position + span.count();
  SpanPages result;
  if (home.below_pages == 0) return result;
  result.below = home.below_of(ceil_div(end, page));
  result.full = home.below_of(span.position / page);
  result.completed = home.below_of(end / page) - result.full;
  result.stored = home.below_of(ceil_div(int64_t{span.position}, page));
  result.cut = std::min<int64_t>(home.below_pages, INT32_MAX / page) * page;
  result.down_rows = std::clamp<int64_t>(result.cut - span.position, 0, span.count());
  result.on_disk = home.on_disk();
  result.hosted = rules.accelerator && rules.host_attention && span.count() == 1;
  result.whole = result.hosted && end <= result.cut;
  result.staged = rules.accelerator && !result.hosted;
  return result;
}

}  // namespace penstock
