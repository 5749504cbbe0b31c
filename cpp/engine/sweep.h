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
  token,    // the token after the last position, which the device chooses
  last,     // logits of the last position: the host samples from them
  all,      // logits of every position
};

struct SpanPlan {
  KvSequence* kv = nullptr;
  int32_t position = 0;         // absolute, of the first token
  std::vector<int32_t> tokens;  // to be read in this sweep
  Want want = Want::nothing;
  SampleRow sample;  // of Want::token; its row is left open
  std::vector<int32_t>
      targets;  // scoring: the token after each of the first targets.size() positions

  int32_t count() const { return static_cast<int32_t>(tokens.size()); }
  int64_t logits_rows() const { return want == Want::all ? count() : generates() ? 1 : 0; }
  bool generates() const { return want == Want::token || want == Want::last; }
};

// Where the residual stream of a micro-batch is between visits: where the device computes, in host
// memory beside an accelerator, or on disk.
enum class HiddenHome : uint8_t { here, host, disk };

struct BatchPlan {
  std::vector<SpanPlan> spans;
  int64_t tokens = 0;
  int64_t logits_rows = 0, score_rows = 0;
  int64_t chosen_rows = 0;  // logits rows whose token the device chooses
  HiddenHome hidden = HiddenHome::here;
  int64_t first_token = 0;      // row of the residual stream in that memory
  int64_t activation_unit = 0;  // on disk: its unit
  int64_t head_rows() const { return logits_rows + score_rows; }
};

struct SweepPlan {
  std::vector<BatchPlan> batches;
  int64_t logits_rows = 0, score_rows = 0, head_rows = 0, chosen_rows = 0;
};

}  // namespace penstock
