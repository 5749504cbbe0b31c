#include "engine/shared_prefix.h"

#include <algorithm>

namespace penstock {
namespace {

// Tokens at the beginning of both that the donor has stored or will store.
int64_t common_tokens(const LiveRequest& donor, const LiveRequest& request) {
  const auto lasting = std::max(donor.prompt_tokens, donor.cached);
  const auto limit = std::min<int64_t>(lasting, request.prompt_tokens - 1);
  const auto begin = request.tokens.begin();
  return std::mismatch(begin, begin + limit, donor.tokens.begin()).first - begin;
}

}  // namespace

PrefixMatch find_prefix(const std::list<std::unique_ptr<LiveRequest>>& active,
                        const LiveRequest& request, int page_tokens) {
  PrefixMatch best;
  if (request.scores() || !request.generates()) return best;
  const int64_t most = (request.prompt_tokens - 1) / page_tokens;
  for (const auto& each : active) {
    if (best.pages == most) break;
    const int64_t pages = common_tokens(*each, request) / page_tokens;
    if (pages > best.pages) best = {each.get(), pages};
  }
  return best;
}

}  // namespace penstock
