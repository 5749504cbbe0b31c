// Takes the results of a sweep to the requests that rode in it: scores, logits, tokens; and says
// what is new of each, and which of them have come to their end.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/row_sampler.h"
#include "engine/sweeps_in_flight.h"

namespace penstock {

class Collector {
 public:
  // Throws Error(invalid_argument) for the threads that sample.
  Collector(const SweepRunner& runner, const ModelSpec& spec, int threads);

  struct Collected {
    std::vector<Event> events;                  // in the order of the spans
    std::vector<uint64_t> finished, cancelled;  // ids
    uint64_t prompt_tokens = 0, generated_tokens = 0;
  };
  // Of the sweep that the runner has finished last. Throws what sampling throws; the requests are
  // as they were then.
  Collected collect(const ServedSweep& sweep);

 private:
  struct Rider {
    LiveRequest* request;
    const SpanPlan* span;
    int64_t logits_row;  // its first
  };
  static std::vector<Rider> riders_of(const ServedSweep& sweep);
  std::vector<TokenChoice> choose_tokens(const std::vector<Rider>& riders);
  void collect_scores(LiveRequest& request, const SpanPlan& span, int64_t first_score) const;
  void collect_logits(LiveRequest& request, const SpanPlan& span, int64_t first_row) const;
  const char* add_token(LiveRequest& request, int32_t token) const;
  std::span<const int32_t> eos(const LiveRequest& request) const;

  const SweepRunner& runner_;
  const ModelSpec& spec_;
  RowSampler sampler_;
};

}  // namespace penstock
