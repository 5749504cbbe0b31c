// A request on its way through the engine: what was asked for, and how far it has come.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "penstock/engine.h"
#include "store/kv_store.h"

namespace penstock {

struct LiveRequest {
  uint64_t id = 0;
  Request asked;
  std::vector<int32_t> tokens;  // prompt, then what was generated
  int64_t prompt_tokens = 0;
  int64_t cached = 0;  // tokens whose keys and values are stored
  KvHome home;
  KvSequence kv;
  // Of the first pages, which another request has computed or will compute; part of cached.
  int64_t shared_tokens = 0;
  uint64_t prefix_group = 0;  // id of the request that the oldest of them come from, or its own
  const LiveRequest* donor = nullptr;  // who will compute them; null once they are stored
  int64_t riding = 0;                  // tokens in the sweep that is being planned or in flight
  int cohort = 0;                      // which of the sweeps in flight serve it
  bool cancelled = false;              // leaves with the sweep that it rides in
  std::vector<float> prompt_logprobs;  // filled as chunks are read
  std::vector<float> logits;           // all_logits: row-major, filled as chunks are read

  bool generates() const { return !asked.score && !asked.all_logits; }
  bool scores() const { return asked.score || asked.prompt_logprobs; }
  int64_t pending() const { return static_cast<int64_t>(tokens.size()) - cached; }
  int64_t generated() const { return static_cast<int64_t>(tokens.size()) - prompt_tokens; }
  int64_t final_length() const {
    return prompt_tokens + (generates() ? asked.sampling.max_tokens : 0);
  }
  // As far as one can tell: what is expected, and twice that as often as the request has outgrown
  // it.
  int64_t likely_length() const {
    if (!generates() || asked.expected_new <= 0) return final_length();
    int64_t fresh = asked.expected_new;
    while (fresh <= generated()) fresh *= 2;
    return std::min(prompt_tokens + fresh, final_length());
  }
  // The last token is never read back, so its keys and values are not stored.
  int64_t final_cached() const { return generates() ? final_length() - 1 : final_length(); }
  // Tokens stored once the planned sweep has run.
  int64_t stored() const { return waits() ? 0 : cached + riding; }
  // Its shared pages will not be stored before its turn in that sweep: those where the model
  // computes are by then if the donor's turn comes before, those below only in the next sweep.
  bool waits() const {
    if (donor == nullptr) return false;
    const int64_t before = donor->waits() ? 0 : donor->cached;
    return (home.below_pages > 0 ? before : donor->stored()) < shared_tokens;
  }
};

}  // namespace penstock
