// What attention tests share: shapes, rows of q, k and v for them, pages.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "support/kernels.h"
#include "tensor/kv_layout.h"

namespace penstock::test {

// The pages of one layer for some sequences. Every page begins as NaN patterns, as a poisoned slot
// would.
class Pages {
 public:
  Pages(const KvLayout& layout, int sequences, int tokens) {
    for (int s = 0; s < sequences; ++s) {
      lists_.emplace_back();
      for (int t = 0; t < tokens; t += layout.page_tokens) {
        bytes_.push_back(std::make_unique<AlignedBytes>(layout.page_bytes(), 0xff));
        lists_.back().push_back(bytes_.back()->data());
      }
    }
  }
  std::byte* const* of(int sequence) const { return lists_[static_cast<size_t>(sequence)].data(); }

 private:
  std::vector<std::unique_ptr<AlignedBytes>> bytes_;
  std::vector<std::vector<std::byte*>> lists_;
};

struct Case {
  std::string_view format = "fp32";
  int heads = 4, kv_heads = 2, head_dim = 64, page_tokens = 32;
  int window = 0;
  std::vector<int> lengths = {70};
  bool exact = false;
};

// Rows of q, k and v for every token of every sequence.
struct Data {
  explicit Data(const Case& c) : c(c) {
    layout = {kv_format(c.format), c.kv_heads, c.head_dim, c.page_tokens};
    for (const int length : c.lengths) {
      firsts.push_back(rows);
      rows += length;
    }
    Random random(static_cast<uint64_t>(c.head_dim * 7 + c.heads));
    q = random.normals(rows * q_width(), 0.7f);
    k = random.normals(rows * kv_width(), 0.7f);
    v = random.normals(rows * kv_width());
  }
  int64_t q_width() const { return int64_t{c.heads} * c.head_dim; }
  int64_t kv_width() const { return int64_t{c.kv_heads} * c.head_dim; }

  Case c;
  KvLayout layout;
  int64_t rows = 0;
  std::vector<int64_t> firsts;
  std::vector<float> q, k, v;
};

}  // namespace penstock::test
