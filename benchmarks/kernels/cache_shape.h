// Sizes of attention over the caches of one sequence.
#pragma once

#include <cstdint>

#include "tensor/kv_layout.h"

namespace penstock::bench {

struct CacheShape {
  int64_t keys;
  int heads;
  KvLayout layout;

  int64_t pages() const { return (keys + layout.page_tokens - 1) / layout.page_tokens; }
  int64_t sequence_bytes() const { return pages() * layout.page_bytes(); }
  int64_t query_width() const { return int64_t{heads} * layout.head_dim; }
  int64_t key_width() const { return int64_t{layout.kv_heads} * layout.head_dim; }
};

}  // namespace penstock::bench
