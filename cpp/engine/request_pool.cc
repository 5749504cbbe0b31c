#include "engine/request_pool.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"

namespace penstock {

RequestPool::RequestPool(const MemoryPlan& memory, const ResolvedPolicy& policy, KvStore& kv,
                         bool accelerator)
    : policy_(policy), kv_(kv), admission_(kv, policy), dealer_(memory, policy, accelerator) {}

void RequestPool::admit() {
  const bool block = policy_.admission == Admission::block;
  if (block && !active_.empty()) return;
  const int64_t pace = block ? 0 : policy_.pace;
  pace_credit_ = std::min(pace_credit_ + pace, pace);
  const auto in_pace = [&] { return pace == 0 || active_.empty() || pace_credit_ > 0; };
  while (!waiting_.empty() && in_pace() && enter(*waiting_.front())) {
    pace_credit_ -= waiting_.front()->pending();
    waiting_.front()->cohort = smallest_cohort();
    active_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

bool RequestPool::enter(LiveRequest& request) {
  PrefixMatch match;
  if (policy_.share_prefix) match = find_prefix(active_, request, policy_.page_tokens);
  if (match.pages > 0 && match.donor->riding > 0) {  // in flight: its page tables stay as they are
    match.pages = std::min<int64_t>(match.pages, match.donor->kv.pages.front().size());
  }
  const int64_t pages = kv_.pages_for(request.final_length());
  request.home = dealer_.deal(pages);
  if (match.pages > 0) request.home = dealer_.join(request.home, match.donor->home, match.pages);
  share_prefix(request, match);
  std::vector<const LiveRequest*> active;
  for (const Pointer& each : active_) active.push_back(each.get());
  const KvPrefix prefix{match.pages > 0 ? &match.donor->kv : nullptr, match.pages};
  const bool fits = (active.empty() || admission_.admits(active, request)) &&
                    (match.pages == 0 || kv_.grow(match.donor->kv, request.shared_tokens)) &&
                    kv_.open(request.kv, request.home, request.final_length(), prefix);
  if (!fits) {
    check(!active.empty(), "a request that was accepted has room when it is alone");
    drop_prefix(request);
    return false;
  }
  shared_tokens_ += request.shared_tokens;
  dealer_.commit(request.home, pages);
  return true;
}

// What `match` gives counts as read.
void RequestPool::share_prefix(LiveRequest& request, const PrefixMatch& match) const {
  request.prefix_group = request.id;
  if (match.pages == 0) return;
  request.shared_tokens = request.cached = match.pages * policy_.page_tokens;
  request.prefix_group =
      match.donor->shared_tokens > 0 ? match.donor->prefix_group : match.donor->id;
  request.donor = match.donor;
}

void RequestPool::drop_prefix(LiveRequest& request) {
  request.shared_tokens = request.cached = 0;
  request.donor = nullptr;
}

int RequestPool::smallest_cohort() const {
  std::vector<int> sizes(policy_.sweeps(), 0);
  for (const Pointer& request : active_) ++sizes[request->cohort];
  return static_cast<int>(std::min_element(sizes.begin(), sizes.end()) - sizes.begin());
}

std::vector<LiveRequest*> RequestPool::in_service(int cohort) const {
  std::vector<LiveRequest*> requests, prompts;
  for (const Pointer& request : active_) {
    if (request->cohort != cohort) continue;
    const bool decodes = request->pending() == 1 && request->donor == nullptr;
    (decodes ? requests : prompts).push_back(request.get());
  }
  requests.insert(requests.end(), prompts.begin(), prompts.end());
  return requests;
}

bool RequestPool::reserve_pages(std::vector<LiveRequest*>* requests, bool in_flight) {
  const int64_t limit = std::max(1, std::min(policy_.prefill_chunk, policy_.micro_batch_tokens));
  for (size_t i = 0; i < requests->size();) {
    LiveRequest& request = *(*requests)[i];
    if (kv_.grow(request.kv, request.cached + std::min(request.pending(), limit))) {
      ++i;
      continue;
    }
    if (in_flight) return false;
    check(active_.size() > 1, "a request that was accepted fits when it is alone");
    std::erase(*requests, active_.back().get());
    put_back_youngest();
  }
  return !requests->empty();
}

void RequestPool::put_back_youngest() {
  Pointer request = std::move(active_.back());
  active_.pop_back();
  begin_again(std::move(request));
}

void RequestPool::begin_again(Pointer request) {
  kv_.close(request->kv);
  drop_prefix(*request);
  request->prompt_logprobs.clear();
  request->logits.clear();
  waiting_.push_front(std::move(request));
}

bool RequestPool::ends_with_sweeps_in_flight() const {
  if (!waiting_.empty()) return false;
  for (const Pointer& request : active_) {
    if (request->riding < request->pending()) return false;
    const int64_t generated = request->generated() + 1;
    if (request->generates() && generated < request->asked.sampling.max_tokens) return false;
  }
  return true;
}

void RequestPool::cancel(uint64_t id) {
  const auto flies = [&](const Pointer& request) {
    return request->id == id && request->riding > 0;
  };
  const auto request = std::find_if(active_.begin(), active_.end(), flies);
  if (request == active_.end()) return remove(id);
  (*request)->cancelled = true;
}

void RequestPool::settle_prefixes() {
  for (const Pointer& request : active_) {
    const LiveRequest* donor = request->donor;
    const bool stored = donor != nullptr && donor->donor == nullptr;  // what it shares itself
    if (stored && donor->cached >= request->shared_tokens) request->donor = nullptr;
  }
}

void RequestPool::leave(uint64_t id) {
  const auto request = std::find_if(active_.begin(), active_.end(),
                                    [&](const Pointer& each) { return each->id == id; });
  check(request != active_.end(), "who finishes is in service");
  kv_.close((*request)->kv);
  if (!(*request)->asked.all_logits) active_.erase(request);
}

void RequestPool::remove(uint64_t id) {
  const auto same = [&](const Pointer& request) { return request->id == id; };
  std::erase_if(waiting_, same);
  for (const Pointer& request : active_) {
    if (same(request)) kv_.close(request->kv);
  }
  // Donors come before those that count on them.
  std::vector<Pointer> orphans;
  std::set<const LiveRequest*> gone;
  for (Pointer& request : active_) {
    if (!same(request) && !gone.contains(request->donor)) continue;
    gone.insert(request.get());
    if (!same(request)) orphans.push_back(std::move(request));
  }
  active_.remove_if([&](const Pointer& request) { return !request || same(request); });
  for (; !orphans.empty(); orphans.pop_back()) begin_again(std::move(orphans.back()));
}

std::vector<float> RequestPool::take_logits() {
  check(active_.size() == 1 && waiting_.empty(), "logits() needs an idle engine");
  std::vector<float> logits = std::move(active_.front()->logits);
  active_.clear();
  return logits;
}

}  // namespace penstock
