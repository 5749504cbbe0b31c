#include "engine/shared_prefix.h"

#include <algorithm>

namespace penstock {
namespace {

// Tokens at the beginning of both that the donor has stored or will store.
int64_t common_tokens(const Row& donor, const Row& row) {
  const auto lasting = std::max(donor.prompt_tokens, donor.cached);
  const auto limit = std::min<int64_t>(lasting, row.prompt_tokens - 1);
  const auto begin = row.tokens.begin();
  return std::mismatch(begin, begin + limit, donor.tokens.begin()).first - begin;
}

}  // namespace

PrefixMatch find_prefix(const std::list<std::unique_ptr<Row>>& active, const Row& row,
                        int page_tokens) {
  PrefixMatch best;
  if (row.scores() || !row.generates()) return best;
  const int64_t most = (row.prompt_tokens - 1) / page_tokens;
  for (const auto& each : active) {
    if (best.pages == most) break;
    const int64_t pages = common_tokens(*each, row) / page_tokens;
    if (pages > best.pages) best = {each.get(), pages};
  }
  return best;
}

}  // namespace penstock
