// Attention over bf16 caches by dot products of pairs: queries and softmax weights are rounded to
// bf16, keys and values are multiplied where they lie: keys two elements of head_dim at a time,
// values two tokens at a time, by absolute position. head_dim is a multiple of kLanes. Pairs is an
// Add (multiply.inl).

template <class Pairs>
struct PairValues {
  const PairTile& t;
  KeyRange keys;          // of one page
  int64_t segment_first;  // key
  int64_t d;
  Ahead& ahead;

  void add_rows(int64_t i, int64_t count) const {
    for_common_keys(
        i, count, 2, [&](int64_t j) { return overlap(keys, t.keys(j)); },
        [&](int64_t j, int64_t rows, KeyRange common) {
          rows == 1 ? add_edge(j, common) : add_pairs(j, rows, common);
        });
  }

 private:
  const float* values_at(int64_t key) const {
    return floats_of(t.values().at(key / 2 * 2).codes) + d;
  }
  // The last vector may be missing: then the first one stands in, and counts for nothing.
  int64_t v_stride() const { return d + kLanes < t.view.head_dim ? kLanes : 0; }

  // Keys of one row: whole pairs, and at either end perhaps half of one.
  void add_edge(int64_t i, KeyRange keys) const {
    if (keys.begin >= keys.end) return;
    const KeyRange whole{blocks_of(keys.begin, 2) * 2, keys.end / 2 * 2};
    if (keys.begin < whole.begin) add_half(i, keys.begin);
    add_pairs(i, 1, whole);
    if (whole.end < keys.end) add_half(i, whole.end);
  }

  // One key of a pair: the other one's values count as zeros.
  void add_half(int64_t i, int64_t key) const {
    const float* pair = values_at(key);
    float half[kTileWidth];
    const vi mask = vset_i(static_cast<int32_t>(key % 2 == 0 ? 0x0000ffffu : 0xffff0000u));
    for (int v = 0; v < kRowVectors; ++v) {
      vstore(half + v * kLanes, vfrom_bits(vand_i(vbits(vload(pair + v * v_stride())), mask)));
    }
    multiply_rows<Pairs>(product(i, key, half, 1), 1);
  }

  // Keys of whole pairs.
  void add_pairs(int64_t i, int64_t count, KeyRange keys) const {
    if (keys.begin >= keys.end) return;
    Product part = product(i, keys.begin, values_at(keys.begin), (keys.end - keys.begin) / 2);
    part.w_stride = t.view.head_dim;
    part.v_stride = v_stride();
    multiply_rows<Pairs>(part, count, &ahead);
  }

  // Of row i: values of `pairs` pairs, the weights of key `key` and on.
  Product product(int64_t i, int64_t key, const float* values, int64_t pairs) const {
    const AttentionScratch& s = t.scratch;
    const float* weights = s.scores + i * kScoreStride;
    return {.w = values,
            .x = bytes_of(weights) + (key - segment_first) / 2 * 4,
            .x_stride = kScoreStride * 4,
            .steps = pairs,
            .sums = s.partial + i * s.width + d,
            .sums_stride = s.width};
  }
};

void load_query_pairs(const PairTile& t) {
  const AttentionScratch& s = t.scratch;
  for (int64_t i = 0; i < t.count(); ++i) {
    std::byte* out = mutable_bytes_of(s.query + i * s.width);
    for (int64_t d = 0; d < s.width; d += kLanes) {
      vstore_u16(out + d * 2, bf16_lanes(vload_n(t.query(i) + d, t.view.head_dim - d)));
    }
  }
}

// Softmax weights of pair i in place, of whole steps of keys; zero where it sees no key.
void round_weights(const PairTile& t, int64_t i, const Segment& segment) {
  float* weights = t.scratch.scores + i * kScoreStride;
  const KeyRange own = overlap(segment.keys, t.keys(i));
  const int64_t begin = segment.first_step(), end = begin + segment.steps() * kKeyStep;
  for (int64_t key = begin; key < end; key += kLanes) {
    const int64_t k = key - segment.first;
    const vf own_weights =
        vselect_range(vload(weights + k), vzero(), own.begin - key, own.end - key);
    vstore_u16(mutable_bytes_of(weights) + k * 2, bf16_lanes(own_weights));
  }
}

template <class Pairs>
struct PairAttention {
  const PairTile& t;

  void load_queries() const { load_query_pairs(t); }

  int64_t score_work(const Segment& segment) const {
    return segment.steps() * product_work(t.count(), t.view.head_dim / 2);
  }
  int64_t value_work(const Segment& segment) const {
    return blocks_of(t.view.head_dim, kTileWidth) * product_work(t.count(), segment.count() / 2);
  }

  void scores(const Segment& segment, Ahead& ahead) const {
    const KeyRange keys = segment.keys;
    for (int64_t at = segment.first_step(); at < keys.end; at += kKeyStep) {
      score_step(at, keys, t.scratch.scores + at - segment.first, ahead);
    }
  }

  void values(const Segment& segment, Ahead& ahead) const {
    const AttentionScratch& s = t.scratch;
    for (int64_t i = 0; i < t.count(); ++i) round_weights(t, i, segment);
    __builtin_memset(s.partial, 0, static_cast<size_t>(t.count() * s.width) * sizeof(float));
    // All elements of a page before the next page, so that memory is read in order.
    for (int64_t key = segment.keys.begin; key < segment.keys.end;) {
      const KeyRange page{key, at_most(segment.keys.end, t.values().page_end(key))};
      for (int64_t d = 0; d < t.view.head_dim; d += kTileWidth) {
        for (int64_t i = 0; i < t.count(); i += kMaxRows) {
          PairValues<Pairs>{t, page, segment.first, d, ahead}.add_rows(
              i, at_most(kMaxRows, t.count() - i));
        }
      }
      key = page.end;
    }
  }

 private:
  void score_step(int64_t first, KeyRange keys, float* scores, Ahead& ahead) const {
    const AttentionScratch& s = t.scratch;
    // Keys of one block lie side by side; two vectors lie wherever their keys are.
    constexpr bool kOneBlock = kKeyStep == kKeyBlock;
    static_assert(kOneBlock || kRowVectors == 2);
    const KvAt block = kOneBlock ? t.keys().at(first) : t.key_lanes(first, keys);
    const float* words = floats_of(block.codes);
    const float* next =
        kOneBlock ? words + kLanes : floats_of(t.key_lanes(first + kLanes, keys).codes);
    for (int64_t i = 0; i < t.count(); ++i) {
      for (int v = 0; v < kRowVectors; ++v) vstore(scores + i * kScoreStride + v * kLanes, vzero());
    }
    multiply_rows<Pairs>({.w = words,
                          .w_stride = kKeyStride / 4,
                          .v_stride = next - words,
                          .x = bytes_of(s.query),
                          .x_stride = s.width * 4,
                          .steps = blocks_of(t.view.head_dim, 2),
                          .sums = scores,
                          .sums_stride = kScoreStride},
                         t.count(), &ahead);
  }
};
