// attention: per (sequence, kv head) the query rows and heads that share keys form pairs; keys are
// read in steps of kTileWidth, widened to fp32 once and used by all pairs of a task. One state per
// absolute segment of 256 keys; prefill and decode have the same arithmetic (decode goes through
// attention_few.inl), and a pair's does not see the other pairs.

constexpr int kKeyStep = kTileWidth;  // divides kAttentionSegment
constexpr int64_t kScoreStride = kAttentionSegment + 16;
constexpr int64_t kMostPairs = 96;
static_assert(kAttentionSegment % kKeyStep == 0);

// A task's scratch. Strides in floats.
struct AttentionScratch {
  int64_t width;   // head_dim rounded up to kTileWidth
  float* query;    // [pairs][width]
  float* output;   // [pairs][width]
  float* partial;  // [pairs][width] of the current segment
  float* scores;   // [pairs][kScoreStride]
  float* rows;     // [kKeyStep][width]: keys or values as fp32
  float* keys;     // [width][kTileWidth]: keys as columns
};

// Pairs of a task, so that the scratch fits for every head_dim up to 4096.
inline int64_t pairs_per_task(int64_t width) {
  return at_least(12, at_most(kMostPairs, kMostPairs * 256 / width / 12 * 12));
}

AttentionScratch attention_scratch(const KernelContext& context, int worker, int64_t width) {
  const int64_t pairs = pairs_per_task(width);
  float* next = static_cast<float*>(
      static_cast<void*>(context.scratch + static_cast<size_t>(worker) * kScratchBytesPerWorker));
  const auto take = [&next](int64_t count) {
    float* part = next;
    next += count;
    return part;
  };
  AttentionScratch s{};
  s.width = width;
  s.query = take(pairs * width);
  s.output = take(pairs * width);
  s.partial = take(pairs * width);
  s.scores = take(pairs * kScoreStride);
  s.rows = take(kKeyStep * width);
  s.keys = take(width * kTileWidth);
  return s;
}

// The pairs of one task: query row `pair / group`, head `kv_head * group + pair % group`.
struct PairTile {
  const AttentionParams& p;
  const KvView& view;
  const SpanView& span;
  int64_t kv_head, group;  // group: query heads per kv head
  int64_t begin, end;      // pairs
  AttentionScratch scratch;

  int64_t count() const { return end - begin; }
  int64_t row(int64_t i) const { return (begin + i) / group; }
  int64_t head(int64_t i) const { return kv_head * group + (begin + i) % group; }
  int64_t batch_row(int64_t i) const { return span.first_row + row(i); }
  // Of the span's part of the sequence; none: begin >= end. Both ends ascend with i.
  KeyRange keys(int64_t i) const {
    const int64_t position = span.position + row(i);
    const int64_t first = p.window > 0 ? at_least(0, position - p.window + 1) : 0;
    return overlap({first, position + 1}, {span.key_begin, span.key_end});
  }
  float* out(int64_t i) const {
    return p.out + batch_row(i) * p.out_stride + head(i) * view.head_dim;
  }
  AttentionState& handed(int64_t i) const { return p.states[batch_row(i) * p.heads + head(i)]; }
  KeyRange all_keys() const { return {keys(0).begin, keys(count() - 1).end}; }
  // All of one query row, whose keys go through registers (attention_few.inl).
  bool few() const {
    return row(0) == row(count() - 1) && view.head_dim % at_least(kLanes, 8) == 0;
  }
};

void load_queries(const PairTile& t) {
  const AttentionScratch& s = t.scratch;
  for (int64_t i = 0; i < t.count(); ++i) {
    const float* q = t.p.q + t.batch_row(i) * t.p.q_stride + t.head(i) * t.view.head_dim;
    __builtin_memcpy(s.query + i * s.width, q,
                     static_cast<size_t>(t.view.head_dim) * sizeof(float));
  }
  __builtin_memset(s.rows, 0, static_cast<size_t>(kKeyStep * s.width) * sizeof(float));
}

// The fold so far: nothing, or what the part before has left.
void begin_fold(const PairTile& t, AttentionState* states) {
  const AttentionScratch& s = t.scratch;
  __builtin_memset(s.output, 0, static_cast<size_t>(t.count() * s.width) * sizeof(float));
  for (int64_t i = 0; t.span.resume && i < t.count(); ++i) {
    __builtin_memcpy(s.output + i * s.width, t.out(i),
                     static_cast<size_t>(t.view.head_dim) * sizeof(float));
    states[i] = t.handed(i);
  }
}

// Hands the fold on, or ends it.
void end_fold(const PairTile& t, int64_t i, const AttentionState& state) {
  const float* folded = t.scratch.output + i * t.scratch.width;
  float* out = t.out(i);
  if (t.span.partial) {
    __builtin_memcpy(out, folded, static_cast<size_t>(t.view.head_dim) * sizeof(float));
    t.handed(i) = state;
    return;
  }
  const vf sum = vset(state.sum);
  for (int64_t d = 0; d < t.view.head_dim; d += kLanes) {
    vstore_n(out + d, vdiv(vload(folded + d), sum), t.view.head_dim - d);
  }
}

// Values of `keys` (at most kKeyStep of them) as fp32 into the rows [key - first].
void load_values(const PairTile& t, int64_t first, KeyRange keys) {
  for (int64_t key = keys.begin; key < keys.end; ++key) {
    load_kv_row(t.view, kv_row(t.view, t.span.pages, true, t.kv_head, key),
                t.scratch.rows + (key - first) * t.scratch.width);
  }
}

KeyColumn key_column(const PairTile& t) {
  return {t.view, t.span.pages, t.kv_head,
          static_cast<std::byte*>(static_cast<void*>(t.scratch.rows))};
}

// Unscaled scores of the keys [first, first + kKeyStep), of which `keys` exist; those of the others
// mean nothing.
void score_step(const PairTile& t, int64_t first, KeyRange keys, float* scores) {
  const AttentionScratch& s = t.scratch;
  for (int v = 0; v < kRowVectors; ++v) {
    const int64_t key = first + v * kLanes;
    float* columns = s.keys + v * kLanes;
    if (key + kLanes <= keys.begin || key >= keys.end) {
      for (int64_t d = 0; d < t.view.head_dim; ++d) vstore(columns + d * kTileWidth, vzero());
      continue;
    }
    with_reader(t.view, [&]<class Reader>(Reader) {
      for_key_values<Reader>(t.view, key_column(t).lanes(key, keys), [&](int64_t d, vf values) {
        vstore(columns + d * kTileWidth, values);
      });
    });
  }
  for (int64_t i = 0; i < t.count(); ++i) {
    for (int v = 0; v < kRowVectors; ++v) vstore(scores + i * kScoreStride + v * kLanes, vzero());
  }
  multiply_rows({s.keys, kTileWidth, s.query, s.width, t.view.head_dim, scores, kScoreStride},
                t.count());
}

// Scores of keys [begin, end) of one pair become exp(scale * score - max); relative to the segment,
// whose lanes fix the order of the sum.
AttentionState softmax_segment(float* scores, float scale, int64_t begin, int64_t end) {
  const int64_t first = begin / kLanes * kLanes;
  const vf lowest = vset(-__builtin_inff()), factor = vset(scale);
  vf largest = lowest;
  for (int64_t k = first; k < end; k += kLanes) {
    const vf x = vmul(vload(scores + k), factor);
    vstore(scores + k, x);
    largest = vmax(vselect_range(x, lowest, begin - k, end - k), largest);
  }
  AttentionState state;
  state.max = vlargest(largest);
  vf sums = vzero();
  for (int64_t k = first; k < end; k += kLanes) {
    const vf e = vexp(vsub(vload(scores + k), vset(state.max)));
    vstore(scores + k, e);
    sums = vadd(sums, vselect_range(e, vzero(), begin - k, end - k));
  }
  state.sum = vsum(sums);
  return state;
}

// partial += sum over `keys` (all in one step) of weight * value for `count` pairs from `i`, keys
// ascending.
void add_values(const PairTile& t, int64_t i, int64_t count, KeyRange keys) {
  if (keys.begin >= keys.end) return;
  const AttentionScratch& s = t.scratch;
  const float* values = s.rows + keys.begin % kKeyStep * s.width;
  const float* weights = s.scores + i * kScoreStride + keys.begin % kAttentionSegment;
  for (int64_t d = 0; d < s.width; d += kTileWidth) {
    multiply_rows({values + d, s.width, weights, kScoreStride, keys.end - keys.begin,
                   s.partial + i * s.width + d, s.width},
                  count);
  }
}

// Pairs whose keys differ at an edge of the mask are taken one by one there and together in
// between: no pair ever multiplies a value it must not see, not even by zero.
void value_step(const PairTile& t, KeyRange step) {
  for (int64_t i = 0; i < t.count(); i += kMaxRows) {
    const int64_t count = at_most(kMaxRows, t.count() - i);
    const KeyRange low = overlap(step, t.keys(i)), high = overlap(step, t.keys(i + count - 1));
    const KeyRange common = {high.begin, at_least(high.begin, low.end)};  // both ends ascend
    for (int64_t j = i; j < i + count; ++j) {
      const KeyRange own = overlap(step, t.keys(j));
      add_values(t, j, 1, {own.begin, at_most(own.end, common.begin)});
    }
    add_values(t, i, count, common);
    for (int64_t j = i; j < i + count; ++j) {
      const KeyRange own = overlap(step, t.keys(j));
      add_values(t, j, 1, {at_least(own.begin, common.end), own.end});
    }
  }
}

void fold_pair(const AttentionScratch& s, int64_t i, AttentionState& state,
               const AttentionState& next) {
  const FoldWeights weights = fold_state(state, next, ScalarExp{});
  const vf keep = vset(weights.keep), take = vset(weights.take);
  float* out = s.output + i * s.width;
  const float* add = s.partial + i * s.width;
  for (int64_t d = 0; d < s.width; d += kLanes) {
    vstore(out + d, vfma(vload(add + d), take, vmul(vload(out + d), keep)));
  }
}

// Values of `keys`, then what is read after them: keys of the next segment, in bytes if not one by
// one. The last value stands for what nothing follows.
void list_values(const PairTile& t, KeyRange keys, KvRow* rows) {
  const KvColumn values{t.view, t.span.pages, true, t.kv_head};
  const KvColumn next{t.view, t.span.pages, false, t.kv_head};
  const int64_t end = at_most(t.all_keys().end, keys.end + kAheadKeys);
  kv_rows(values, keys.begin, keys.end, rows);
  rows += keys.end - keys.begin;
  kv_rows(next, keys.end, end, rows);
  for (int64_t i = end - keys.end; i < kAheadKeys; ++i) rows[i] = rows[-1];
}

// Scores and weighted values of one segment when all pairs see the same keys.
void attend_few(const PairTile& t, int64_t segment, AttentionState* states) {
  const AttentionScratch& s = t.scratch;
  const KeyRange keys = overlap(t.all_keys(), {segment, segment + kAttentionSegment});
  const int64_t first = keys.begin - segment, count = keys.end - keys.begin;
  KvRow rows[kListedKeys];
  list_values(t, keys, rows);
  // Of pair i, scores from key `from` of the segment on.
  const auto few = [&](int64_t i, int64_t from) {
    return FewPairs{t.view,
                    s.query + i * s.width,
                    s.partial + i * s.width,
                    s.width,
                    s.scores + i * kScoreStride + from,
                    kScoreStride};
  };
  with_reader(t.view, [&](auto reader) {
    for_row_groups<kFewPairs>(t.count(), [&]<int kPairs>(RowCount<kPairs>, int64_t i) {
      score_few<kPairs>(few(i, first / kLanes * kLanes), reader, key_column(t), keys);
    });
    AttentionState next[kMostPairs];
    for (int64_t i = 0; i < t.count(); ++i) {
      next[i] = softmax_segment(s.scores + i * kScoreStride, t.p.scale, first, first + count);
    }
    for_row_groups<kFewPairs>(t.count(), [&]<int kPairs>(RowCount<kPairs>, int64_t i) {
      value_few<kPairs>(few(i, first), reader, rows, count);
    });
    for (int64_t i = 0; i < t.count(); ++i) fold_pair(s, i, states[i], next[i]);
  });
}

void attend_segment(const PairTile& t, int64_t segment, AttentionState* states) {
  if (t.few()) return attend_few(t, segment, states);
  const AttentionScratch& s = t.scratch;
  const KeyRange inside = overlap(t.all_keys(), {segment, segment + kAttentionSegment});
  const int64_t step_begin = inside.begin / kKeyStep * kKeyStep;
  for (int64_t first = step_begin; first < inside.end; first += kKeyStep) {
    score_step(t, first, overlap(inside, {first, first + kKeyStep}), s.scores + (first - segment));
  }
  AttentionState next[kMostPairs];
  for (int64_t i = 0; i < t.count(); ++i) {
    const KeyRange own = overlap(inside, t.keys(i));
    if (own.begin >= own.end) continue;
    next[i] = softmax_segment(s.scores + i * kScoreStride, t.p.scale, own.begin - segment,
                              own.end - segment);
  }
  __builtin_memset(s.partial, 0, static_cast<size_t>(t.count() * s.width) * sizeof(float));
  for (int64_t first = step_begin; first < inside.end; first += kKeyStep) {
    const KeyRange step = overlap(inside, {first, first + kKeyStep});
    load_values(t, first, step);
    value_step(t, step);
  }
  for (int64_t i = 0; i < t.count(); ++i) {
    const KeyRange own = overlap(inside, t.keys(i));
    if (own.begin < own.end) fold_pair(s, i, states[i], next[i]);
  }
}

void attend(const PairTile& t) {
  AttentionState states[kMostPairs];
  load_queries(t);
  begin_fold(t, states);
  const KeyRange all = t.all_keys();
  for (int64_t segment = all.begin / kAttentionSegment * kAttentionSegment;
       all.begin < all.end && segment < all.end; segment += kAttentionSegment) {
    attend_segment(t, segment, states);
  }
  for (int64_t i = 0; i < t.count(); ++i) end_fold(t, i, states[i]);
}

void attention(const AttentionParams& p, const KernelContext& context) {
  const KvView view = kv_view(p.layout);
  const int64_t group = p.heads / view.kv_heads;
  const int64_t width = blocks_of(view.head_dim, kTileWidth) * kTileWidth;
  const int64_t pairs = pairs_per_task(width);
  int64_t tiles = 0;
  for (int32_t i = 0; i < p.span_count; ++i) tiles += blocks_of(p.spans[i].count * group, pairs);
  context.parallel.for_each(tiles * view.kv_heads, [&](int64_t task, int worker) {
    int64_t tile = task / view.kv_heads;
    int32_t i = 0;
    for (;; ++i) {
      const int64_t here = blocks_of(p.spans[i].count * group, pairs);
      if (tile < here) break;
      tile -= here;
    }
    const SpanView& span = p.spans[i];
    attend({p, view, span, task % view.kv_heads, group, tile * pairs,
            at_most(span.count * group, (tile + 1) * pairs),
            attention_scratch(context, worker, width)});
  });
}
