#include "engine/sweep_planner.h"

#include <algorithm>

#include "engine/sampler.h"

namespace penstock {

struct SweepPlanner::Open {
  SweepPlan sweep;
  int64_t tokens = 0;                        // of the sweep
  int64_t here_tokens = 0, host_tokens = 0;  // rows of the residual stream in memory
  int64_t disk_batches = 0;

  BatchPlan& batch() { return sweep.batches.back(); }
};

namespace {

SpanPlan make_span(LiveRequest& request, int64_t count, int vocab) {
  SpanPlan span;
  span.kv = &request.kv;
  span.position = static_cast<int32_t>(request.cached);
  span.tokens.assign(request.tokens.begin() + request.cached,
                     request.tokens.begin() + request.cached + count);
  const bool complete = count == request.pending();
  if (request.asked.all_logits) {
    span.want = Want::all;
  } else if (request.generates() && complete) {
    const auto generated = static_cast<size_t>(request.generated());
    const bool plainly = samples_plainly(request.asked.sampling, generated, vocab);
    span.want = plainly ? Want::token : Want::last;
    span.sample = sample_row(request.asked.sampling, generated);
  }
  if (!request.scores()) return span;
  const int64_t last = std::min(request.cached + count, request.prompt_tokens - 1);
  for (int64_t p = request.cached; p < last; ++p) span.targets.push_back(request.tokens[p + 1]);
  return span;
}

}  // namespace

// Tokens of the request that the limits of the sweep and of one micro-batch allow.
int64_t SweepPlanner::chunk(const Open& open, const LiveRequest& request) const {
  const int64_t head_left = memory_.head_rows - open.sweep.head_rows;
  const int64_t logits_left = memory_.logit_rows - open.sweep.logits_rows;
  int64_t count = std::min({request.pending(), memory_.sweep_tokens - open.tokens,
                            static_cast<int64_t>(policy_.micro_batch_tokens)});
  if (request.pending() > 1) count = std::min<int64_t>(count, policy_.prefill_chunk);
  if (request.asked.all_logits) count = std::min({count, head_left, logits_left});
  if (request.scores()) count = std::min(count, head_left - 1);
  if (request.generates() && count == request.pending() && (head_left < 1 || logits_left < 1))
    --count;
  return std::max<int64_t>(count, 0);
}

bool SweepPlanner::start_batch(Open& open) const {
  const int64_t rows = policy_.micro_batch_tokens;
  if (static_cast<int>(open.sweep.batches.size()) >= policy_.micro_batches) return false;
  BatchPlan batch;
  if (open.here_tokens + rows <= memory_.hidden_tokens) {
    batch.first_token = open.here_tokens;
  } else if (open.host_tokens + rows <= memory_.hidden_host_tokens) {
    batch.hidden = HiddenHome::host;
    batch.first_token = open.host_tokens;
  } else if (open.disk_batches < memory_.hidden_disk_tokens / std::max<int64_t>(1, rows)) {
    batch.hidden = HiddenHome::disk;
    batch.activation_unit = open.disk_batches++;
  } else {
    return false;
  }
  open.sweep.batches.push_back(std::move(batch));
  return true;
}

// A micro-batch in memory keeps only the rows it uses, so more of them fit.
void SweepPlanner::close_batch(Open& open) const {
  if (open.sweep.batches.empty()) return;
  const BatchPlan& batch = open.batch();
  const int64_t end = batch.first_token + batch.tokens;
  if (batch.hidden == HiddenHome::here) open.here_tokens = end;
  if (batch.hidden == HiddenHome::host) open.host_tokens = end;
}

// Where the host attends for decoding requests, it should have them before the device turns to a
// prompt: as long as there may be another micro-batch, they do not share one.
bool SweepPlanner::parts(Open& open, int64_t tokens) const {
  const bool more = static_cast<int>(open.sweep.batches.size()) < policy_.micro_batches;
  if (!policy_.host_attention || !more || open.batch().spans.empty()) return false;
  return (open.batch().spans.front().count() == 1) != (tokens == 1);
}

bool SweepPlanner::place(Open& open, LiveRequest& request, int64_t tokens) const {
  const auto full = [&](const BatchPlan& batch) {
    return static_cast<int>(batch.spans.size()) >= policy_.micro_batch ||
           batch.tokens + tokens > policy_.micro_batch_tokens || parts(open, tokens);
  };
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (open.sweep.batches.empty() || attempt == 1 || full(open.batch())) {
      close_batch(open);
      if (!start_batch(open)) return false;
    }
    BatchPlan& batch = open.batch();
    batch.spans.push_back(make_span(request, tokens, shaper_.vocab()));
    if (request.home.below_pages > 0 && !shaper_.fits_slots(batch)) {
      batch.spans.pop_back();
      if (batch.spans.empty()) return false;
      continue;
    }
    const SpanPlan& span = batch.spans.back();
    const auto scores = static_cast<int64_t>(span.targets.size());
    batch.tokens += tokens;
    const int64_t chosen = span.want == Want::token ? 1 : 0;
    batch.logits_rows += span.logits_rows();
    batch.chosen_rows += chosen;
    batch.score_rows += scores;
    open.tokens += tokens;
    open.sweep.logits_rows += span.logits_rows();
    open.sweep.chosen_rows += chosen;
    open.sweep.score_rows += scores;
    open.sweep.head_rows += span.logits_rows() + scores;
    return true;
  }
  return false;
}

SweepPlan SweepPlanner::plan(std::span<LiveRequest* const> requests) const {
  Open open;
  for (LiveRequest* request : requests) request->riding = 0;
  for (LiveRequest* request : requests) {
    if (request->waits()) continue;
    int64_t count = chunk(open, *request);
    // A prompt takes what is left of the micro-batch in progress rather than leaving a hole.
    if (!open.sweep.batches.empty() && request->pending() > 1 && !parts(open, count) &&
        static_cast<int>(open.batch().spans.size()) < policy_.micro_batch) {
      const int64_t room = policy_.micro_batch_tokens - open.batch().tokens;
      if (room >= policy_.micro_batch_tokens / 4) count = std::min(count, room);
    }
    if (count > 0 && place(open, *request, count)) request->riding = count;
  }
  if (!open.sweep.batches.empty() && open.batch().spans.empty()) open.sweep.batches.pop_back();
  return std::move(open.sweep);
}

}  // namespace penstock
