// Which tier the KV pages of the next request go to, so that over many requests the shares of the
// policy come out: whole requests in turn, or every one cut (kv_split) with what rounding leaves
// over carried to the next.
#pragma once

#include "plan/memory_plan.h"
#include "store/kv_store.h"

namespace penstock {

class KvDealer {
 public:
  KvDealer(const MemoryPlan& memory, const ResolvedPolicy& policy, bool accelerator);

  // For a request that will have `pages` pages. Does not count it yet.
  KvHome deal(int64_t pages) const;
  // A request that begins with pages of another one has them where they are: `wanted`, made to
  // agree with them.
  KvHome join(const KvHome& wanted, const KvHome& donor, int64_t shared_pages) const;
  // The request has entered.
  void commit(const KvHome& home, int64_t pages);

  // All homes that deal() may give to a request of so many pages, for checks that each of them has
  // room.
  std::vector<KvHome> possible(int64_t pages) const;

 private:
  int64_t cut(double pages, int64_t most) const;

  bool split_;
  int64_t unit_;  // pages
  double below_, disk_,
      host_;               // shares of pages below; of requests with pages on disk, in host memory
  double owed_below_ = 0;  // pages
  double owed_disk_ = 0, owed_host_ = 0, owed_here_ = 0;  // requests
};

}  // namespace penstock
