// What a span asks of its KV pages below the tier where the device computes: which are read, sent
// up, filled and written back, and whether the host attends. Pure arithmetic on positions, for one
// layer; the shaper counts with it, the binding places addresses by it.
#pragma once

#include <cstdint>

#include "engine/sweep.h"

namespace penstock {

struct PageRules {
  int page_tokens = 32;
  bool accelerator = false;
  bool host_attention = false;
};

struct SpanPages {
  int64_t below = 0;      // pages below that are in use after the sweep
  int64_t full = 0;       // of those, full before it
  int64_t completed = 0;  // get full in it
  int64_t stored = 0;     // hold something before it
  int64_t down_rows = 0;  // the span's first rows, whose keys and values belong below
  bool on_disk = false;   // those pages are on disk: full ones pass through a host slot
  // Accelerator: decoding over pages below is attended by the host, which is whole when no page is
  // above; everything else brings its pages up into a device slot.
  bool hosted = false, whole = false, staged = false;
  int64_t cut = 0;  // first token above
};

SpanPages span_pages(const SpanPlan& span, const PageRules& rules);

}  // namespace penstock
