#include "engine/admission.h"

#include <algorithm>
#include <vector>

#include "base/checked.h"

namespace penstock {

namespace {

constexpr size_t kProbes =
    64;  // sweeps at which the projection is evaluated when there are many requests

}  // namespace

AdmissionRule::Course AdmissionRule::course(const LiveRequest& request) const {
  const int64_t chunk = std::max(1, policy_.prefill_chunk);
  const int64_t sweeps = std::max<int64_t>(1, ceil_div(request.pending(), chunk));
  const int64_t left = request.likely_length() - static_cast<int64_t>(request.tokens.size());
  return {sweeps, static_cast<int64_t>(request.tokens.size()),
          sweeps + std::max<int64_t>(left, 1) - 1};
}

// Without the pages it shares.
KvNeed AdmissionRule::need_at(const LiveRequest& request, const Course& course,
                              int64_t sweep) const {
  if (sweep >= course.last_sweep) return {};
  const int64_t grown = std::max<int64_t>(0, sweep - course.prefill_sweeps + 1);
  const int64_t tokens = std::min(course.first + grown, request.final_cached());
  KvNeed need = kv_.need(request.home, std::max<int64_t>(tokens, 1));
  const KvNeed shared = shared_need(request);
  need.here -= shared.here;
  need.host -= shared.host;
  return need;
}

// In memory, of the pages themselves: tails are a request's own.
KvNeed AdmissionRule::shared_need(const LiveRequest& request) const {
  if (request.shared_tokens == 0) return {};
  const int64_t pages = kv_.pages_for(request.shared_tokens), below = request.home.below_of(pages);
  return {kv_.layers() * (pages - below), request.home.on_host() ? kv_.layers() * below : 0, 0};
}

// Pages that requests share count once: as those of the request they come from while it is there,
// else as the most that one of the others holds.
AdmissionRule::SharedPages AdmissionRule::shared_pages(std::span<const LiveRequest* const> requests,
                                                       std::span<const Course> courses) const {
  SharedPages shared;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests[i]->shared_tokens == 0) continue;
    shared[requests[i]->prefix_group].holders.push_back(
        {courses[i].last_sweep, requests[i]->shared_tokens, shared_need(*requests[i])});
  }
  for (size_t i = 0; i < requests.size() && !shared.empty(); ++i) {
    const auto group = shared.find(requests[i]->id);
    if (group != shared.end()) group->second.origin_until = courses[i].last_sweep;
  }
  return shared;
}

KvNeed AdmissionRule::shared_need_at(const SharedPages& shared, int64_t sweep) {
  KvNeed sum;
  for (const auto& [id, group] : shared) {
    if (sweep < group.origin_until) continue;
    const SharedGroup::Holder* most = nullptr;
    for (const auto& holder : group.holders) {
      if (sweep < holder.until && (most == nullptr || holder.tokens > most->tokens)) most = &holder;
    }
    if (most == nullptr) continue;
    sum.here += most->need.here;
    sum.host += most->need.host;
  }
  return sum;
}

bool AdmissionRule::fits(const KvNeed& need) const {
  const KvNeed capacity = kv_.capacity();
  return need.here <= capacity.here && need.host <= capacity.host;
}

bool AdmissionRule::admits_block(std::span<const LiveRequest* const> active,
                                 const LiveRequest& candidate) const {
  KvNeed sum = kv_.need(candidate.home, candidate.final_cached());
  for (const LiveRequest* request : active) {
    const KvNeed need = kv_.need(request->home, request->final_cached());
    sum.here += need.here;
    sum.host += need.host;
  }
  return fits(sum);
}

bool AdmissionRule::admits(std::span<const LiveRequest* const> active,
                           const LiveRequest& candidate) const {
  if (static_cast<int64_t>(active.size()) >= policy_.max_sequences) return false;
  if (policy_.admission == Admission::block) return admits_block(active, candidate);
  std::vector<const LiveRequest*> requests(active.begin(), active.end());
  requests.push_back(&candidate);
  std::vector<Course> courses;
  std::vector<int64_t> ends;  // the sum peaks just before a request leaves
  for (const LiveRequest* request : requests) {
    courses.push_back(course(*request));
    ends.push_back(courses.back().last_sweep - 1);
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  const SharedPages shared = shared_pages(requests, courses);
  const size_t stride = std::max<size_t>(1, ends.size() / kProbes);
  for (size_t i = 0; i < ends.size(); i += stride) {
    KvNeed sum = shared_need_at(shared, ends[i]);
    for (size_t r = 0; r < requests.size(); ++r) {
      const KvNeed need = need_at(*requests[r], courses[r], ends[i]);
      sum.here += need.here;
      sum.host += need.host;
    }
    if (!fits(sum)) return false;
  }
  return true;
}

}  // namespace penstock
