// One sweep as the generator wants it: which sequences, which positions, whose logits. Plain
// values; the executor turns them into work.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/build.h"
#include "store/kv_store.h"

namespace penstock {

// What is wanted of a span's positions.
enum class Want : uint8_t {
  nothing,  // a chunk in the middle of a prompt
  last,     // logits of the last position: it is sampled from
  all,      // logits of every position
};

struct SpanPlan {
  KvSequence* kv = nullptr;
  int32_t position = 0;         // absolute, of the first token
  std::vector<int32_t> tokens;  // to be read in this sweep
  Want want = Want::nothing;
  std::vector<int32_t>
      targets;  // scoring: the token after each of the first targets.size() positions

  int32_t count() const { return static_cast<int32_t>(tokens.size()); }
  int64_t logits_rows() const { return want == Want::all ? count() : want == Want::last ? 1 : 0; }
};

struct BatchPlan {
  std::vector<SpanPlan> spans;
  int64_t tokens = 0;
  int64_t logits_rows = 0, score_rows = 0;
  int64_t first_token = 0;       // row of the residual stream in memory
  int64_t activation_unit = -1;  // >= 0: the residual stream lives on disk, in this unit
  int64_t head_rows() const { return logits_rows + score_rows; }
};

struct SweepPlan {
  std::vector<BatchPlan> batches;
  int64_t logits_rows = 0, score_rows = 0, head_rows = 0;
};

// Pages of a disk-resident span in its staging slot: full ones that are read, and those that get
// full or begun now.
struct DiskSpan {
  int64_t full = 0;       // pages on disk before the sweep
  int64_t completed = 0;  // pages that get full in it
  int64_t pages = 0;      // pages in use after it
};
DiskSpan disk_span(const SpanPlan& span, int page_tokens);

}  // namespace penstock
