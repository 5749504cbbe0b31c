// Where keys and values lie in the pages of a cache (tensor/kv_layout.h).

// A token of one head: where its first key lane or value part is, and its first word of params.
struct KvAt {
  std::byte* codes;
  std::byte* params;
};
constexpr int64_t kKeyStride = int64_t{kKeyBlock} * 4;  // from word to word, bytes
static_assert(kKeyBlock % kLanes == 0);

// Keys or values of one head.
struct KvColumn {
  const KvView& view;
  std::byte* const* pages;
  bool value;
  int64_t head;

  KvAt at(int64_t position) const {
    const int64_t token = position % view.page_tokens, in_block = token % kKeyBlock;
    std::byte* base =
        pages[position / view.page_tokens] + (value ? view.half_bytes : 0) + head * view.head_bytes;
    std::byte* params = base + view.page_tokens * view.code_bytes +
                        (token - in_block) * view.param_bytes + in_block * 4;
    const int64_t block = value ? view.value_block : kKeyBlock;
    const int64_t part = value ? 4 / view.value_block : 4;
    return {base + (token - token % block) * view.code_bytes + token % block * part, params};
  }
  int64_t page_end(int64_t position) const {
    return (position / view.page_tokens + 1) * view.page_tokens;
  }
};

// Keys [begin, end), absolute.
struct KeyRange {
  int64_t begin, end;
};
inline KeyRange overlap(KeyRange a, KeyRange b) {
  return {at_least(a.begin, b.begin), at_most(a.end, b.end)};
}

inline vi load_words(const std::byte* p) { return vbits(LoadF32::load(p)); }
inline vf low_half(vi words) { return vfrom_bits(vshift_left<16>(words)); }
inline vf high_half(vi words) {
  return vfrom_bits(vand_i(words, vset_i(static_cast<int32_t>(0xffff0000u))));
}
