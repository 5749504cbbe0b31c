// The integer products of attention_codes.inl on tiles, for heads of whole groups. Bytes are
// multiplied where they lie; nibbles are written as bytes first.

constexpr int64_t kSplitWork = 4;  // of a vector of nibbles
constexpr int64_t kScoreWork = 6;  // of a vector of scores, one group
static_assert(kColumnsWidth == kKvGroup);

inline void split_nibbles(const std::byte* both, std::byte* low, std::byte* high) {
  const Codes codes = vload_codes(both);
  vstore_codes(low, low_nibbles(codes));
  vstore_codes(high, high_nibbles(codes));
}

// kColumnsWidth keys of one task.
template <int kBits>
struct KeyColumns {
  KvAt blocks[kTileColumns];

  KeyColumns(const PairTile& t, int64_t first, KeyRange keys) {
    for (int c = 0; c < kTileColumns; ++c) blocks[c] = t.key_lanes(first + c * kKeyBlock, keys);
  }
  const std::byte* codes(int c, int64_t d) const {
    return blocks[c].codes + d * kBits / 8 * kKeyBlock;
  }
  vi params(int c, int64_t group) const {
    return load_words(blocks[c].params + group * kKeyStride);
  }
};

// Nibbles as bytes, kWords rows of a tile for each column.
template <int64_t kWords>
struct alignas(64) WideCodes {
  std::byte at[kTileColumns][kWords][kTileRowBytes];

  // A word of eight nibbles becomes one of low and one of high ones.
  void split_keys(const KeyColumns<4>& keys, int64_t d) {
    for (int c = 0; c < kTileColumns; ++c) {
      for (int64_t word = 0; word < kWords; word += 2) {
        split_nibbles(keys.codes(c, d) + word / 2 * kKeyStride, at[c][word], at[c][word + 1]);
      }
    }
  }
  // Low nibbles are even elements, high ones odd elements.
  void split_values(const std::byte* codes, int64_t word) {
    split_nibbles(codes, at[0][word], at[1][word]);
    split_nibbles(codes + kTileRowBytes, at[2][word], at[3][word]);
  }
  StridedRows rows(int column, int64_t word) const { return {at[column][word], kTileRowBytes}; }
};

template <int kBits>
class CodeTileProducts {
 public:
  explicit CodeTileProducts(const PairTile& t)
      : t_(t), value_tokens_(value_tokens(t)), tiles_(2 * t.count(), value_tokens_) {}

  int64_t score_work(const Segment& segment) const {
    const int64_t of_group = row_groups() * columns_work(1) + t_.count() * 4 * kScoreWork +
                             kBits % 8 * kTileColumns * 2 * kSplitWork;
    return blocks_of(segment.count(), kColumnsWidth) * (t_.view.head_dim / kKvGroup) * of_group;
  }
  int64_t value_work(const Segment& segment) const {
    return t_.view.head_dim / kColumnsWidth *
           (row_groups() * columns_work(blocks_of(segment.count(), value_tokens_)) +
            kBits % 8 * segment.count() / 4 * kSplitWork);
  }

  void scores(const Segment& segment, Ahead& ahead) const {
    const int64_t begin = from_first(segment, kColumnsWidth);
    for (int64_t at = begin; at < segment.keys.end; at += kColumnsWidth) {
      const KeyColumns<kBits> keys(t_, at, segment.keys);
      float* scores = t_.scratch.scores + at - segment.first;
      for (int64_t d = 0; d < t_.view.head_dim; d += kKvGroup) add_scores(keys, d, scores, ahead);
    }
  }

  // Sums of dot products, as integers, to the partial outputs.
  void values(const Segment& segment, Ahead& ahead) const {
    const int64_t begin = from_first(segment, value_tokens_);
    const Steps steps{begin, begin - segment.first,
                      blocks_of(segment.keys.end - begin, value_tokens_)};
    clear_weights(segment, steps);
    for (int64_t d = 0; d < t_.view.head_dim; d += kColumnsWidth) {
      if constexpr (kBits == 8) {
        const std::byte* words[kAttentionSegment / kKeyBlock];
        for (int64_t s = 0; s < steps.count; ++s) {
          words[s] = t_.values().at(begin + s * value_tokens_).codes + d * 4;
        }
        add_values(steps, d, ahead, [&](int64_t step, int column) {
          return StridedRows{words[step] + column * kTileRowBytes, 4 * t_.view.code_bytes};
        });
      } else {
        WideValues wide;
        split_values(segment, d, wide, ahead);
        add_values(steps, d, ahead, [&](int64_t step, int column) {
          return wide.rows(column, steps.at / 4 + step * kTileSide);
        });
      }
    }
  }

 private:
  using WideKeys = WideCodes<kKvGroup / 4>;
  using WideValues = WideCodes<kAttentionSegment / 4>;
  // Steps over the tokens of a segment.
  struct Steps {
    int64_t begin, at;  // the first token, and from the segment's first
    int64_t count;
  };
  // Dot products of one row group.
  struct alignas(64) Sums {
    int32_t at[kTileSide][kColumnsWidth];

    std::byte* bytes() { return static_cast<std::byte*>(static_cast<void*>(at)); }
    vi dot(int64_t pair, int column) const {
      return dot_of(vload_codes(at[2 * pair] + column * kLanes),
                    vload_codes(at[2 * pair + 1] + column * kLanes));
    }
  };

  const PairTile& t_;
  int64_t value_tokens_;  // of a tile: in one page
  AttentionTiles tiles_;

  static int64_t value_tokens(const PairTile& t) {
    return kBits == 4 ? kTileRowBytes : at_most(t.view.page_tokens, kTileRowBytes);
  }
  static int64_t from_first(const Segment& segment, int64_t step) {
    return segment.first + (segment.keys.begin - segment.first) / step * step;
  }
  int64_t row_groups() const { return blocks_of(2 * t_.count(), kTileSide); }

  // f(first pair, pairs) for row groups.
  template <class F>
  void for_row_groups_of_pairs(F f) const {
    for (int64_t first = 0; first < t_.count(); first += kTileSide / 2) {
      f(first, at_most(t_.count() - first, kTileSide / 2));
    }
  }

  __attribute__((noinline)) void add_scores(const KeyColumns<kBits>& keys, int64_t d, float* scores,
                                            Ahead& ahead) const {
    const QueryCodes query = query_codes_of(t_);
    WideKeys wide;
    if constexpr (kBits == 4) wide.split_keys(keys, d);
    vi params[kTileColumns];
    for (int c = 0; c < kTileColumns; ++c) params[c] = keys.params(c, d / kKvGroup);
    for_row_groups_of_pairs([&](int64_t first, int64_t pairs) {
      Sums sums;
      const ColumnProduct<TileDots::bytes, TileUse::keys, kTileColumns> product{
          {query.high(first) + d, query.stride()}, 0, 1, sums.bytes(), sizeof(sums.at[0])};
      product.run(
          [&](int64_t, int column) {
            if constexpr (kBits == 4) return wide.rows(column, 0);
            return StridedRows{keys.codes(column, d), kKeyStride};
          },
          ahead);
      for (int64_t i = 0; i < pairs; ++i) {
        ahead.touch(4 * kScoreWork);
        const RowGroup& row = query.groups(first + i)[d / kKvGroup];
        float* of_pair = scores + (first + i) * kScoreStride;
#pragma GCC unroll 4
        for (int c = 0; c < kTileColumns; ++c) {
          add_score<kBits>(row, params[c], sums.dot(i, c), d == 0, of_pair + c * kLanes);
        }
      }
    });
  }

  template <class At>
  __attribute__((noinline)) void add_values(const Steps& steps, int64_t d, Ahead& ahead,
                                            At at) const {
    const AttentionScratch& s = t_.scratch;
    for_row_groups_of_pairs([&](int64_t first, int64_t pairs) {
      const std::byte* weights = weight_codes_of(t_).high(d / kKvGroup, first);
      Sums sums;
      const ColumnProduct<TileDots::bytes, TileUse::values, kTileColumns> product{
          {weights + steps.at, kWeightStride},
          value_tokens_,
          steps.count,
          sums.bytes(),
          sizeof(sums.at[0])};
      product.run(at, ahead);
      for (int64_t i = 0; i < pairs; ++i) {
        float* partial = s.partial + (first + i) * s.width + d;
#pragma GCC unroll 4
        for (int c = 0; c < kTileColumns; ++c) {
          vstore(partial + c * kLanes, vfrom_bits(sums.dot(i, c)));
        }
      }
    });
  }

  // Zeros for tokens of the steps that no lane of softmax weights has.
  void clear_weights(const Segment& segment, const Steps& steps) const {
    const int64_t end = steps.begin + steps.count * value_tokens_;
    const KeyRange lanes{segment.keys.begin / kLanes * kLanes,
                         blocks_of(segment.keys.end, kLanes) * kLanes};
    for (int64_t group = 0; group < t_.view.head_dim / kKvGroup; ++group) {
      for (int64_t row = 0; row < 2 * t_.count(); ++row) {
        std::byte* codes = weight_codes_of(t_).high(group, 0) + row * kWeightStride;
        const auto clear = [&](int64_t from, int64_t to) {
          __builtin_memset(codes + from - segment.first, 0, static_cast<size_t>(to - from));
        };
        clear(steps.begin, lanes.begin);
        if (lanes.end < end) clear(lanes.end, end);
      }
    }
  }

  // kColumnsWidth elements from `d` on of a segment's tokens. Words that are not there have the
  // weights of none.
  void split_values(const Segment& segment, int64_t d, WideValues& wide, Ahead& ahead) const {
    for_value_words(t_, segment, [&](const ValueWords& words) {
      ahead.touch(words.count * 2 * kSplitWork);
      const std::byte* codes = words.codes + d / 2 * 4;
      for (int64_t word = 0; word < words.count; ++word, codes += 4 * t_.view.code_bytes) {
        wide.split_values(codes, words.key / 4 + word);
      }
    });
  }
};
