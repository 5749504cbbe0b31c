// Attention in fp32: keys are read in steps of kTileWidth and widened once for all pairs of a task.
// When all pairs are of one query row, those of raw caches go through registers
// (attention_few.inl).

// Values of `keys` (at most kKeyStep of them) as fp32 into the rows [key - first].
void load_values(const PairTile& t, int64_t first, KeyRange keys) {
  with_reader(t.view, [&]<class Reader>(Reader) {
    for (int64_t key = keys.begin; key < keys.end; ++key) {
      const KvAt token = t.values().at(key);
      float* row = t.scratch.rows + (key - first) * t.scratch.width;
      for (int64_t d = 0; d < t.view.head_dim; d += kLanes) {
        vstore(row + d, Reader::values(token, d, t.view.head_dim - d));
      }
    }
  });
}

// kLanes keys as columns, kTileWidth from each other.
template <class Reader>
void load_keys(const PairTile& t, int64_t key, float* columns) {
  const KvAt keys = t.keys().at(key);
  const std::byte* codes = keys.codes;
  for (int64_t d = 0; d < t.view.head_dim; d += Reader::kWide, codes += kKeyStride) {
    const vi words = load_words(codes);
    vi params{};
    if (t.view.quantised) params = load_words(keys.params + d / kKvGroup * kKeyStride);
    for_parts<Reader::kWide>([&]<int kPart>(Part<kPart>) __attribute__((always_inline)) {
      vstore(columns + (d + kPart) * kTileWidth, Reader::template key_value<kPart>(words, params));
    });
  }
}

// Unscaled scores of the step of kKeyStep keys that `keys` are in; those of the others mean
// nothing.
void score_step(const PairTile& t, KeyRange keys, float* scores, Ahead& ahead) {
  const AttentionScratch& s = t.scratch;
  const int64_t first = keys.begin / kKeyStep * kKeyStep;
  for (int v = 0; v < kRowVectors; ++v) {
    const int64_t key = first + v * kLanes;
    float* columns = s.keys + v * kLanes;
    if (key + kLanes <= keys.begin || key >= keys.end) {
      for (int64_t d = 0; d < t.view.head_dim; ++d) vstore(columns + d * kTileWidth, vzero());
      continue;
    }
    with_reader(t.view, [&]<class Reader>(Reader) { load_keys<Reader>(t, key, columns); });
  }
  for (int64_t i = 0; i < t.count(); ++i) {
    for (int v = 0; v < kRowVectors; ++v) vstore(scores + i * kScoreStride + v * kLanes, vzero());
  }
  multiply_rows<MultiplyAdd>({.w = s.keys,
                              .x = bytes_of(s.query),
                              .x_stride = s.width * 4,
                              .steps = t.view.head_dim,
                              .sums = scores,
                              .sums_stride = kScoreStride},
                             t.count(), &ahead);
}

// partial += sum over `keys` (all in one step) of weight * value for `count` pairs from `i`, keys
// ascending.
void add_values(const PairTile& t, int64_t i, int64_t count, KeyRange keys, Ahead& ahead) {
  if (keys.begin >= keys.end) return;
  const AttentionScratch& s = t.scratch;
  const float* values = s.rows + keys.begin % kKeyStep * s.width;
  const float* weights = s.scores + i * kScoreStride + keys.begin % kAttentionSegment;
  for (int64_t d = 0; d < s.width; d += kTileWidth) {
    multiply_rows<MultiplyAdd>({.w = values + d,
                                .w_stride = s.width,
                                .x = bytes_of(weights),
                                .x_stride = kScoreStride * 4,
                                .steps = keys.end - keys.begin,
                                .sums = s.partial + i * s.width + d,
                                .sums_stride = s.width},
                               count, &ahead);
  }
}

void value_step(const PairTile& t, KeyRange step, Ahead& ahead) {
  for (int64_t i = 0; i < t.count(); i += kMaxRows) {
    for_common_keys(
        i, at_most(kMaxRows, t.count() - i), 1, [&](int64_t j) { return overlap(step, t.keys(j)); },
        [&](int64_t j, int64_t pairs, KeyRange keys) { add_values(t, j, pairs, keys, ahead); });
  }
}

// Of pair i, scores from key `from` of the segment on.
inline FewPairs few_pairs(const PairTile& t, int64_t i, int64_t from) {
  const AttentionScratch& s = t.scratch;
  return {t.view,
          s.query + i * s.width,
          s.partial + i * s.width,
          s.width,
          s.scores + i * kScoreStride + from,
          kScoreStride};
}

struct FloatAttention {
  const PairTile& t;

  // All pairs are of one query row, over a raw cache.
  bool few() const {
    return !t.view.quantised && t.row(0) == t.row(t.count() - 1) &&
           t.view.head_dim % at_least(kLanes, 8) == 0;
  }

  void load_queries() const {
    const AttentionScratch& s = t.scratch;
    for (int64_t i = 0; i < t.count(); ++i) {
      __builtin_memcpy(s.query + i * s.width, t.query(i),
                       static_cast<size_t>(t.view.head_dim) * sizeof(float));
    }
    __builtin_memset(s.rows, 0, static_cast<size_t>(kKeyStep * s.width) * sizeof(float));
  }

  int64_t score_work(const Segment& segment) const {
    if (!few()) return segment.steps() * product_work(t.count(), t.view.head_dim);
    return few_work(t.count(), segment.count() / kLanes * t.view.head_dim);
  }
  int64_t value_work(const Segment& segment) const {
    const int64_t vectors = segment.count() * blocks_of(t.view.head_dim, kLanes);
    return few() ? few_work(t.count(), vectors) : t.count() * vectors;
  }

  void scores(const Segment& segment, Ahead& ahead) const {
    if (few()) return few_scores(segment, ahead);
    const KeyRange keys = segment.keys;
    for (int64_t at = segment.first_step(); at < keys.end; at += kKeyStep) {
      score_step(t, overlap(keys, {at, at + kKeyStep}), t.scratch.scores + at - segment.first,
                 ahead);
    }
  }

  void values(const Segment& segment, Ahead& ahead) const {
    if (few()) return few_values(segment, ahead);
    const AttentionScratch& s = t.scratch;
    const KeyRange keys = segment.keys;
    __builtin_memset(s.partial, 0, static_cast<size_t>(t.count() * s.width) * sizeof(float));
    for (int64_t at = segment.first_step(); at < keys.end; at += kKeyStep) {
      const KeyRange step = overlap(keys, {at, at + kKeyStep});
      load_values(t, at, step);
      value_step(t, step, ahead);
    }
  }

 private:
  void few_scores(const Segment& segment, Ahead& ahead) const {
    const int64_t first = segment.keys.begin - segment.first;
    with_raw_reader(t.view, [&](auto reader) {
      for_row_groups<kFewPairs>(t.count(), [&]<int kPairs>(RowCount<kPairs>, int64_t i) {
        const FewPairs pairs = few_pairs(t, i, first / kLanes * kLanes);
        score_few<kPairs>(pairs, reader, t.keys(), segment.keys, ahead);
      });
    });
  }

  void few_values(const Segment& segment, Ahead& ahead) const {
    std::byte* tokens[kAttentionSegment];
    const int64_t first = segment.keys.begin - segment.first;
    for (int64_t key = segment.keys.begin; key < segment.keys.end; ++key) {
      tokens[key - segment.keys.begin] = t.values().at(key).codes;
    }
    with_raw_reader(t.view, [&](auto reader) {
      for_row_groups<kFewPairs>(t.count(), [&]<int kPairs>(RowCount<kPairs>, int64_t i) {
        value_few<kPairs>(few_pairs(t, i, first), reader, tokens,
                          segment.keys.end - segment.keys.begin, ahead);
      });
    });
  }
};
