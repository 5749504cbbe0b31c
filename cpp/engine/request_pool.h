// The requests that wait and those in service: who enters, when, and where its pages go; who is put
// back when the pages run out; who leaves. Requests never wait for each other, but for pages.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <vector>

#include "engine/admission.h"
#include "engine/kv_dealer.h"
#include "engine/live_request.h"
#include "engine/shared_prefix.h"

namespace penstock {

class RequestPool {
 public:
  using Pointer = std::unique_ptr<LiveRequest>;

  RequestPool(const MemoryPlan& memory, const ResolvedPolicy& policy, KvStore& kv,
              bool accelerator);

  void add(Pointer request) { waiting_.push_back(std::move(request)); }
  // Those that may enter now do, in the order in which they were added.
  void admit();

  const std::list<Pointer>& active() const { return active_; }  // in the order of admission
  size_t waiting() const { return waiting_.size(); }
  bool empty() const { return active_.empty() && waiting_.empty(); }
  uint64_t shared_tokens() const { return shared_tokens_; }  // of all that have entered

  // The active requests of a cohort, in the order of service. Those that decode come first: each is
  // one token and must not wait. Then prompts in the order of admission, so that a donor's turn
  // comes before that of who shares its pages.
  std::vector<LiveRequest*> in_service(int cohort) const;
  // Pages for what each of them may read in the next sweep. When a memory runs out, the youngest
  // active request is put back and leaves `requests`; but not while a sweep is in flight that may
  // need its pages. False when nothing can ride now.
  bool reserve_pages(std::vector<LiveRequest*>* requests, bool in_flight);
  // No request will be left after the sweeps in flight, whatever is sampled.
  bool ends_with_sweeps_in_flight() const;

  // A request in flight leaves with its sweep, any other one at once. Unknown ids are ignored.
  void cancel(uint64_t id);
  // After the results of a sweep were taken: what donors have stored is there for the others.
  void settle_prefixes();
  // Of a request that has finished. One that wants all logits stays until take_logits().
  void leave(uint64_t id);
  // Of a request that rides in no sweep. Who counts on pages of its that will not be written any
  // more begins again.
  void remove(uint64_t id);
  // Of the only request, which has finished.
  std::vector<float> take_logits();

 private:
  bool enter(LiveRequest& request);
  void share_prefix(LiveRequest& request, const PrefixMatch& match) const;
  static void drop_prefix(LiveRequest& request);
  int smallest_cohort() const;
  void put_back_youngest();
  void begin_again(Pointer request);

  const ResolvedPolicy& policy_;
  KvStore& kv_;
  AdmissionRule admission_;
  KvDealer dealer_;
  int64_t pace_credit_ = 0;  // tokens that requests which enter may bring
  uint64_t shared_tokens_ = 0;
  std::deque<Pointer> waiting_;
  std::list<Pointer> active_;
};

}  // namespace penstock
