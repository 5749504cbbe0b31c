// When may the next request enter? KV pages are taken as sequences grow, not when they enter, so
// requests of all ages share the space. A request is admitted when the pages that all requests will
// hold in each memory, projected sweep by sweep to their ends, never exceed it. The projection is
// an estimate (prompts may be read later than assumed); when it was wrong the youngest request is
// put back and its prompt read again, which changes no result.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/live_request.h"
#include "plan/memory_plan.h"

namespace penstock {

class AdmissionRule {
 public:
  AdmissionRule(const KvStore& kv, const ResolvedPolicy& policy) : kv_(kv), policy_(policy) {}

  // `active`: the requests in flight, `candidate` the one that asks.
  bool admits(std::span<const LiveRequest* const> active, const LiveRequest& candidate) const;

 private:
  struct Course {  // pages of one request over the sweeps to come
    int64_t prefill_sweeps, first, last_sweep;
  };
  Course course(const LiveRequest& request) const;
  bool admits_block(std::span<const LiveRequest* const> active, const LiveRequest& candidate) const;
  KvNeed need_at(const LiveRequest& request, const Course& course, int64_t sweep) const;
  struct SharedGroup {  // requests that hold pages of one request's prompt by reference
    struct Holder {
      int64_t until, tokens;
      KvNeed need;
    };
    int64_t origin_until = 0;  // the request they come from; 0: it has left
    std::vector<Holder> holders;
  };
  using SharedPages = std::map<uint64_t, SharedGroup>;  // by the id of that request
  SharedPages shared_pages(std::span<const LiveRequest* const> requests,
                           std::span<const Course> courses) const;
  static KvNeed shared_need_at(const SharedPages& shared, int64_t sweep);
  KvNeed shared_need(const LiveRequest& request) const;
  bool fits(const KvNeed& need) const;

  const KvStore& kv_;
  const ResolvedPolicy& policy_;
};

}  // namespace penstock
