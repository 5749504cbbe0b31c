// Prompts that begin alike (few-shot headers, system prompts, several samples of one prompt) share
// the KV pages of their equal beginning: a request that enters takes the full pages it has in
// common with a request in flight by reference. The other request may still be about to compute
// them, even in the very sweep in which this one begins: appending keys comes before attention, and
// a request's turn comes after its donor's. Keys and values of a position depend on the tokens up
// to it and on nothing else, so no bit changes.
#pragma once

#include <list>
#include <memory>

#include "engine/live_request.h"

namespace penstock {

struct PrefixMatch {
  LiveRequest* donor = nullptr;
  int64_t pages = 0;
};

// The request in flight with which `request` has the most full pages in common; the oldest of
// those. At least one prompt token is left to `request`. Requests that want something of every
// position take no part. Pages below the tier where the model computes are shared too; they are
// there for another request from the sweep after the one that stores them.
PrefixMatch find_prefix(const std::list<std::unique_ptr<LiveRequest>>& active,
                        const LiveRequest& request, int page_tokens);

}  // namespace penstock
