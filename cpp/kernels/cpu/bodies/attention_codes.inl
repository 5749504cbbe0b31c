// Attention over quantised caches by integer dot products: codes as they are stored, by queries and
// softmax weights rounded to codes of their own. Those have two bytes, 128 * high + low, so that
// the rounding of the cache stays the coarser one by far. A dot product is exact, so its order does
// not matter; high and low parts are rows that are multiplied side by side.

constexpr float kTopCode = 127 * 128 + 63;

// The codes of kLanes values from `steps`, their number of steps, at most kTopCode before rounding.
inline vi store_code_pairs(vf steps, std::byte* high, std::byte* low) {
  constexpr int32_t kOffset = 1 << 15;  // a multiple of 256 that leaves nothing negative
  const vi codes = vto_int(steps);
  const vi shifted = vadd_i(codes, vset_i(kOffset));
  const vi upper = vshift_right<7>(vadd_i(shifted, vset_i(64)));
  vstore_u8(high, upper);
  vstore_u8(low, vsub_i(shifted, vshift_left<7>(upper)));
  return codes;
}

// A row of codes over one group of the cache.
struct alignas(16) RowGroup {
  float scale;   // of a code
  int32_t zero;  // 8-bit: what to add to a dot product of codes that are kCodeOffset too large
  float bias;    // 4-bit: sum of value * bias of the cache, or what the bias is multiplied by
};

// Dot products of a pair, whose codes have two bytes.
inline vi dot_of(vi high, vi low) { return vadd_i(vshift_left<7>(high), low); }
template <int kRows>
inline vi dot_of(const RowDots<kRows>& dots, int i, int v) {
  return dot_of((vi)dots[2 * i][v], (vi)dots[2 * i + 1][v]);
}
template <int kRows>
inline void clear_dots(RowDots<kRows>& dots) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) dots[i][v] = (Dots)vset_i(0);
  }
}

// Words of four codes by rows of bytes.
inline constexpr int64_t dots_work(int64_t rows, int64_t words) {
  return at_least(rows, 3) * words * kRowVectors;
}

// Query rows of a task: of each pair codes of high parts, RowGroups, codes of low parts.
struct QueryCodes {
  std::byte* first;
  int64_t width;

  int64_t stride() const { return 2 * width; }  // from high to low, and on to the next pair's
  std::byte* high(int64_t i) const { return first + 2 * i * stride(); }
  RowGroup* groups(int64_t i) const {
    return static_cast<RowGroup*>(static_cast<void*>(high(i) + width));
  }
};
static_assert(sizeof(RowGroup) <= kTileWidth && kTileWidth <= kKvGroup);

inline QueryCodes query_codes_of(const PairTile& t) {
  return {mutable_bytes_of(t.scratch.query), t.scratch.width};
}

// kKeyStep keys.
template <int kBits>
struct KeyCodes {
  const std::byte* codes[kRowVectors];
  const std::byte* params[kRowVectors];

  // The group that begins at element d.
  CodeWords at(int64_t d) const {
    CodeWords words;
    for (int v = 0; v < kRowVectors; ++v) words.at[v] = codes[v] + d * kBits / 8 * kKeyBlock;
    return words;
  }
};

// Adds a group's part to the scores of kLanes keys, or begins them.
template <int kBits>
inline void add_score(const RowGroup& row, vi params, vi dot, bool first, float* score) {
  vf sum = first ? vzero() : vload(score);
  const vf scale = vmul(vset(row.scale), low_half(params));
  if constexpr (kBits == 8) dot = vadd_i(dot, vset_i(row.zero));
  sum = vfma(scale, vto_float(dot), sum);
  if constexpr (kBits == 4) sum = vfma(vset(row.bias), high_half(params), sum);
  vstore(score, sum);
}

// kKeyStep keys from `first` on; lanes of keys that are not there hold others.
template <int kBits>
inline KeyCodes<kBits> key_codes(const PairTile& t, int64_t first, KeyRange keys) {
  KeyCodes<kBits> codes;
  for (int v = 0; v < kRowVectors; ++v) {
    const KvAt at = t.key_lanes(first + v * kLanes, keys);
    codes.codes[v] = at.codes;
    codes.params[v] = at.params;
  }
  return codes;
}

// Scores of the query rows first + [0, kRows), two a pair.
template <int kRows, int kBits>
__attribute__((noinline)) void score_codes(const PairTile& t, const KeyCodes<kBits>& keys,
                                           int64_t first, float* scores, Ahead& ahead) {
  const QueryCodes query = query_codes_of(t);
  const int64_t elements = t.view.code_bytes * 8 / kBits;
  scores += first / 2 * kScoreStride;
  for (int64_t d = 0; d < elements; d += kKvGroup) {
    const int64_t group = d / kKvGroup;
    RowDots<kRows> dots;
    clear_dots<kRows>(dots);
    const int64_t end = at_most(elements, d + kKvGroup);
    for (int64_t k = d; k < end; k += kTurnElements) {
      ahead.touch(dots_work(kRows, kTurnElements / 4));
      add_dots<kRows, kBits>(keys.at(k), {query.high(first / 2) + k, query.stride()},
                             at_most(kTurnElements, end - k), dots);
    }
    vi params[kRowVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v)
      params[v] = load_words(keys.params[v] + group * kKeyStride);
#pragma GCC unroll 8
    for (int i = 0; i < kRows / 2; ++i) {
      const RowGroup& row = query.groups(first / 2 + i)[group];
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) {
        add_score<kBits>(row, params[v], dot_of<kRows>(dots, i, v), d == 0,
                         scores + i * kScoreStride + v * kLanes);
      }
    }
  }
}

// Softmax weights of a task over a segment: of each group of head_dim and pair codes of high parts,
// a RowGroup, codes of low parts.
struct WeightCodes {
  std::byte* first;
  int64_t pairs;

  std::byte* high(int64_t group, int64_t i) const {
    return first + (group * pairs + i) * 2 * kWeightStride;
  }
  RowGroup& group(int64_t group, int64_t i) const {
    return *static_cast<RowGroup*>(static_cast<void*>(high(group, i) + kAttentionSegment));
  }
};
static_assert(kAttentionSegment + sizeof(RowGroup) <= kWeightStride);
inline WeightCodes weight_codes_of(const PairTile& t) { return {t.scratch.weights, t.count()}; }

// Words of four tokens of one page, side by side: `count` of them from `codes` on. The first and
// the last word may hold other tokens too.
struct ValueWords {
  const std::byte* codes;
  int64_t key;  // of the first token, from the segment's first
  int64_t count;
};

// f(ValueWords) for the pages of a segment.
template <class F>
inline void for_value_words(const PairTile& t, const Segment& segment, F f) {
  for (int64_t key = segment.keys.begin / 4 * 4; key < segment.keys.end;) {
    const int64_t end = at_most(segment.keys.end, t.values().page_end(key));
    f(ValueWords{t.values().at(key).codes, key - segment.first, blocks_of(end - key, 4)});
    key = end;
  }
}

// Words of four nibbles, of low ones where v is even and of high ones where it is odd.
template <int kRows>
inline void add_nibbles(const CodeWords& words, const CodeRows& rows, int64_t count,
                        RowDots<kRows>& dots) {
  const std::byte* at[kRowVectors];
  for (int v = 0; v < kRowVectors; ++v) at[v] = words.at[v];
  RowPointers<kRows> x(rows.first, rows.stride);
  for (int64_t word = 0; word < count; ++word, x.step(4)) {
    Codes codes[kRowVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      const Codes both = vload_codes(at[v]);
      codes[v] = v % 2 == 0 ? low_nibbles(both) : high_nibbles(both);
      at[v] += words.stride;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Inputs4 inputs = inputs4(int_at(x[i]));
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) dots[i][v] = dot4(dots[i][v], codes[v], inputs);
    }
  }
}

// Vector v of a block of values: of bytes in order; of nibbles, the even and the odd elements.
template <int kBits>
inline int64_t value_offset(const PairTile& t, int64_t element, int v) {
  const int64_t part = kBits == 8 ? element + v * kLanes : element / 2 + v / 2 * kLanes;
  // Vectors that are missing repeat the last one.
  return at_most(part, (t.view.code_bytes - 1) / kLanes * kLanes) * 4;
}

// Adds dot products, as integers, to the partial outputs of weight rows first + [0, kRows), two a
// pair, for kTileWidth elements from `d` on.
template <int kRows, int kBits>
__attribute__((noinline)) void add_values(const PairTile& t, const ValueWords& words, int64_t d,
                                          int64_t first) {
  const AttentionScratch& s = t.scratch;
  const WeightCodes weights = weight_codes_of(t);
  RowDots<kRows> dots;
  clear_dots<kRows>(dots);
  CodeWords codes{.at = {}, .stride = 4 * t.view.code_bytes};
#pragma GCC unroll 4
  for (int v = 0; v < kRowVectors; ++v) codes.at[v] = words.codes + value_offset<kBits>(t, d, v);
  const CodeRows rows{weights.high(d / kKvGroup, first / 2) + words.key, kWeightStride};
  if constexpr (kBits == 8) {
    add_dots<kRows, 8>(codes, rows, 4 * words.count, dots);
  } else {
    add_nibbles<kRows>(codes, rows, words.count, dots);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows / 2; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      float* sum = s.partial + (first / 2 + i) * s.width + d + v * kLanes;
      vstore(sum, vfrom_bits(vadd_i(vbits(vload(sum)), dot_of<kRows>(dots, i, v))));
    }
  }
}

// Sums of dot products become sums of values.
template <int kBits>
inline void scale_values(const RowGroup& group, float* sums) {
  const vf scale = vset(group.scale), bias = vset(group.bias);
  vf values[kRowVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kRowVectors; ++v) {
    const vi dot = vbits(vload(sums + v * kLanes));
    values[v] = kBits == 8 ? vmul(scale, vto_float(vadd_i(dot, vset_i(group.zero))))
                           : vfma(scale, vto_float(dot), bias);
  }
#pragma GCC unroll 4
  for (int v = 0; kBits == 4 && v < kRowVectors; v += 2) vzip(values[v], values[v + 1]);
#pragma GCC unroll 4
  for (int v = 0; v < kRowVectors; ++v) vstore(sums + v * kLanes, values[v]);
}

// The integer products, by vectors. What multiplies them otherwise has the same functions, and the
// same results.
template <int kBits>
struct CodeVectors {
  const PairTile& t;

  int64_t score_work(const Segment& segment) const {
    return segment.steps() * dots_work(2 * t.count(), blocks_of(t.view.head_dim, 4));
  }
  int64_t value_work(const Segment& segment) const {
    return blocks_of(t.view.head_dim, kTileWidth) * dots_work(2 * t.count(), segment.count() / 4);
  }

  void scores(const Segment& segment, Ahead& ahead) const {
    for (int64_t at = segment.first_step(); at < segment.keys.end; at += kKeyStep) {
      const KeyCodes<kBits> keys = key_codes<kBits>(t, at, segment.keys);
      float* scores = t.scratch.scores + at - segment.first;
      for_row_groups<kMaxIntRows>(2 * t.count(), [&]<int kRows>(RowCount<kRows>, int64_t i) {
        if constexpr (kRows > 1) score_codes<kRows, kBits>(t, keys, i, scores, ahead);
      });
    }
  }

  // Sums of dot products, as integers, to the partial outputs.
  void values(const Segment& segment, Ahead& ahead) const {
    const AttentionScratch& s = t.scratch;
    __builtin_memset(s.partial, 0, static_cast<size_t>(t.count() * s.width) * sizeof(float));
    // All elements of a page before the next page, so that memory is read in order.
    for_value_words(t, segment, [&](const ValueWords& words) {
      for (int64_t d = 0; d < t.view.head_dim; d += kTileWidth) {
        for_row_groups<kMaxIntRows>(2 * t.count(), [&]<int kRows>(RowCount<kRows>, int64_t i) {
          ahead.touch(dots_work(kRows, words.count));
          if constexpr (kRows > 1) add_values<kRows, kBits>(t, words, d, i);
        });
      }
    });
  }
};

template <int kBits, class Products>
struct CodeAttention {
  const PairTile& t;
  Products products{t};

  void load_queries() const {
    const QueryCodes query = queries();
    for (int64_t i = 0; i < t.count(); ++i) {
      for (int64_t d = 0; d < t.view.head_dim; d += kKvGroup) {
        query.groups(i)[d / kKvGroup] = query_codes(i, d);
      }
    }
  }

  int64_t score_work(const Segment& segment) const { return products.score_work(segment); }
  int64_t value_work(const Segment& segment) const {
    return products.value_work(segment) + blocks_of(t.view.head_dim, kKvGroup) * t.count() *
                                              (segment.count() / kLanes) * kCodesWork;
  }

  void scores(const Segment& segment, Ahead& ahead) const { products.scores(segment, ahead); }

  void values(const Segment& segment, Ahead& ahead) const {
    const AttentionScratch& s = t.scratch;
    store_weights(segment, ahead);
    products.values(segment, ahead);
    for (int64_t i = 0; i < t.count(); ++i) {
      for (int64_t d = 0; d < t.view.head_dim; d += kTileWidth) {
        scale_values<kBits>(weights().group(d / kKvGroup, i), s.partial + i * s.width + d);
      }
    }
  }

 private:
  static_assert(kKeyStride == kTileRows * 4 && kRowVectors % 2 == 0 && kMaxIntRows % 2 == 0);

  WeightCodes weights() const { return weight_codes_of(t); }
  QueryCodes queries() const { return query_codes_of(t); }

  // Stores codes of one group of a pair's query.
  RowGroup query_codes(int64_t i, int64_t d) const {
    const float* q = t.query(i) + d;
    const int64_t left = at_most(kKvGroup, t.view.head_dim - d);
    const int64_t count = blocks_of(left, 8) * 8;
    std::byte* high = queries().high(i) + d;
    std::byte* low = high + queries().stride();
    vi largest = vset_i(0);
    for (int64_t k = 0; k < count; k += kLanes) {
      largest = vmax_i(largest, vand_i(vbits(vload_n(q + k, left - k)), vset_i(0x7fffffff)));
    }
    const BlockScale scale = block_scale(largest, kTopCode);
    vi sums = vset_i(0);
    for (int64_t k = 0; k < count; k += kLanes) {
      const vf steps = vmul(vload_n(q + k, left - k), vset(scale.inverse));
      sums = vadd_i(sums, store_code_pairs(steps, high + k, low + k));
    }
    if constexpr (kBits == 4) {
      for (int64_t k = 0; k < count; k += 8) order_as_nibbles(high + k), order_as_nibbles(low + k);
    }
    const int32_t sum = vsum_i(sums);
    return {scale.scale, -kCodeOffset * sum, scale.scale * static_cast<float>(sum)};
  }

  // Even elements, then odd ones.
  static void order_as_nibbles(std::byte* eight) {
    std::byte in[8];
    __builtin_memcpy(in, eight, 8);
    for (int j = 0; j < 8; ++j) eight[j] = in[j % 4 * 2 + j / 4];
  }

  // Of the values of a segment, one group.
  struct ValueParams {
    const std::byte* const* of_keys;  // kLanes
    int64_t group;

    vi words(int64_t key) const { return load_words(of_keys[key / kLanes] + group * kKeyStride); }
  };

  // Codes of the softmax weights, times the values' scales, of all pairs and groups.
  void store_weights(const Segment& segment, Ahead& ahead) const {
    const int64_t begin = (segment.keys.begin - segment.first) / kLanes * kLanes;
    const std::byte* params[kAttentionSegment / kLanes];  // of kLanes keys
    for (int64_t k = begin; k < segment.keys.end - segment.first; k += kLanes) {
      params[k / kLanes] = t.values().at(segment.first + k).params;
    }
    for (int64_t group = 0; group < blocks_of(t.view.head_dim, kKvGroup); ++group) {
      for (int64_t i = 0; i < t.count(); ++i) {
        weights().group(group, i) = weight_codes(segment, {params, group}, i, ahead);
      }
    }
  }

  // Stores codes of one group of a pair; zeros for keys that it does not see.
  __attribute__((noinline)) RowGroup weight_codes(const Segment& segment, ValueParams params,
                                                  int64_t i, Ahead& ahead) const {
    const float* softmax = t.scratch.scores + i * kScoreStride;
    std::byte* high = weights().high(params.group, i);
    const KeyRange own = overlap(segment.keys, t.keys(i));
    const int64_t begin = (segment.keys.begin - segment.first) / kLanes * kLanes;
    const int64_t end = segment.keys.end - segment.first;
    float scaled[kAttentionSegment];
    vi largest = vset_i(0);
    vf biases = vzero();
    for (int64_t k = begin; k < end; k += kLanes) {
      ahead.touch(kCodesWork / 2);
      const int64_t at = segment.first + k;
      const vi words = params.words(k);
      const vf weights = vload(softmax + k);
      const auto seen = [&](vf x) {
        return vselect_range(x, vzero(), own.begin - at, own.end - at);
      };
      const vf x = seen(vmul(weights, low_half(words)));
      vstore(scaled + k, x);
      largest = vmax_i(largest, vand_i(vbits(x), vset_i(0x7fffffff)));
      if constexpr (kBits == 4) biases = vadd(biases, seen(vmul(weights, high_half(words))));
    }
    const BlockScale scale = block_scale(largest, kTopCode);
    vi sums = vset_i(0);
    for (int64_t k = begin; k < end; k += kLanes) {
      ahead.touch(kCodesWork / 2);
      const vf steps = vmul(vload(scaled + k), vset(scale.inverse));
      sums = vadd_i(sums, store_code_pairs(steps, high + k, high + kWeightStride + k));
    }
    return {scale.scale, -kCodeOffset * vsum_i(sums), vsum(biases)};
  }
};
