// attention: per (sequence, kv head) the query rows and heads that share keys form pairs. One state
// per absolute segment of 256 keys; prefill and decode have the same arithmetic, and a pair's does
// not see the other pairs. A kernel type K, made of a PairTile, gives
//   void load_queries()
//   void scores(const Segment&, Ahead&)    unscaled scores of its keys to scratch.scores; those of
//                                          other keys mean nothing
//   void values(const Segment&, Ahead&)    weights are where scores were, those of keys that a pair
//                                          does not see mean nothing: their sum of values to
//                                          scratch.partial
//   int64_t score_work(const Segment&), value_work(const Segment&)
//                                          (Ahead)

constexpr int kKeyStep = kTileWidth;  // divides kAttentionSegment
constexpr int64_t kScoreStride = kAttentionSegment + 16;
constexpr int64_t kMostPairs = 96;
constexpr int64_t kWeightStride = kAttentionSegment + 64;  // bytes
static_assert(kAttentionSegment % kKeyStep == 0);

// A task's scratch. Strides in floats.
struct AttentionScratch {
  int64_t width;       // head_dim rounded up to kTileWidth
  float* query;        // [pairs][width]
  float* output;       // [pairs][width]
  float* partial;      // [pairs][width] of the current segment
  float* scores;       // [pairs][kScoreStride]
  float* rows;         // [kKeyStep][width]: keys or values as fp32
  float* keys;         // [width][kTileWidth]: keys as columns
  std::byte* weights;  // where rows and keys are: [groups of head_dim][2 * pairs][kWeightStride]
};

// Pairs of a task, so that the scratch fits for every head_dim up to kMostHeadDim.
inline constexpr int64_t pairs_per_task(int64_t width) {
  return at_least(12, at_most(kMostPairs, kMostPairs * 256 / width / 12 * 12));
}
inline constexpr int64_t attention_scratch_bytes(int64_t width) {
  const int64_t pairs = pairs_per_task(width);
  const int64_t rows = 2 * kTileWidth * width * 4;
  const int64_t weights = blocks_of(width, kKvGroup) * 2 * pairs * kWeightStride;
  return pairs * (3 * width + kScoreStride) * 4 + at_least(rows, weights);
}
static_assert(attention_scratch_bytes(256) <= int64_t{kScratchBytesPerWorker} &&
              attention_scratch_bytes(512) <= int64_t{kScratchBytesPerWorker} &&
              attention_scratch_bytes(kMostHeadDim) <= int64_t{kScratchBytesPerWorker});

AttentionScratch attention_scratch(const KernelContext& context, int worker, int64_t width) {
  const int64_t pairs = pairs_per_task(width);
  float* next = floats_of(context.scratch + static_cast<size_t>(worker) * kScratchBytesPerWorker);
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
  s.weights = mutable_bytes_of(s.rows);
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
  KvColumn keys() const { return {view, span.pages, false, kv_head}; }
  KvColumn values() const { return {view, span.pages, true, kv_head}; }
  const float* query(int64_t i) const {
    return p.q + batch_row(i) * p.q_stride + head(i) * view.head_dim;
  }
  // kLanes keys from `key` on, or others that are in `keys` if none of these are.
  KvAt key_lanes(int64_t key, KeyRange seen) const {
    const int64_t last = (seen.end - 1) / kLanes * kLanes;
    return keys().at(at_least(seen.begin / kLanes * kLanes, at_most(last, key)));
  }
};

// Pairs [first, first + count) whose keys differ at an edge of the mask are taken one by one there
// and together in between, over multiples of `step` keys: no pair ever multiplies a value it must
// not see, not even by zero. own(i): keys of pair i. Calls take(i, pairs, keys).
template <class Own, class Take>
inline void for_common_keys(int64_t first, int64_t count, int64_t step, Own own, Take take) {
  const int64_t end = first + count;
  const int64_t begin = blocks_of(own(end - 1).begin, step) * step;  // both ends ascend
  const KeyRange common{begin, at_least(begin, own(first).end / step * step)};
  for (int64_t i = first; i < end; ++i) {
    take(i, 1, KeyRange{own(i).begin, at_most(own(i).end, common.begin)});
  }
  take(first, count, common);
  for (int64_t i = first; i < end; ++i) {
    take(i, 1, KeyRange{at_least(own(i).begin, common.end), own(i).end});
  }
}

constexpr int kPagesTogether = 4;
static_assert(2 * kAttentionSegment / kKeyBlock <= Ahead::kMostRuns);
// Lines of K or V of `keys`, page by page.
inline void add_pages(const PairTile& t, KeyRange keys, bool value, Ahead& ahead) {
  const int64_t offset = (value ? t.view.half_bytes : 0) + t.kv_head * t.view.head_bytes;
  for (int64_t key = keys.begin / t.view.page_tokens * t.view.page_tokens; key < keys.end;
       key += t.view.page_tokens) {
    ahead.add(t.span.pages[key / t.view.page_tokens] + offset);
  }
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

// Scores of keys [begin, end) of one pair become exp(scale * score - max); relative to the segment,
// whose lanes fix the order of the sum.
AttentionState softmax_segment(float* scores, float scale, KeyRange keys, Ahead& ahead) {
  const auto [begin, end] = keys;
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
    ahead.touch(kExpWork);
    const vf e = vexp(vsub(vload(scores + k), vset(state.max)));
    vstore(scores + k, e);
    sums = vadd(sums, vselect_range(e, vzero(), begin - k, end - k));
  }
  state.sum = vsum(sums);
  return state;
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

// The keys of a segment of kAttentionSegment that a task's pairs see, from `first` on.
struct Segment {
  int64_t first;
  KeyRange keys;
  bool is_first;   // of the task
  KeyRange after;  // keys of the next segment

  int64_t count() const { return keys.end - keys.begin; }
  // In steps of kKeyStep.
  int64_t first_step() const { return keys.begin / kKeyStep * kKeyStep; }
  int64_t steps() const { return blocks_of(keys.end - first_step(), kKeyStep); }
};

// What is read after the keys of a segment: its values. Nothing was asked for before the first
// keys.
inline Ahead ahead_of_keys(const PairTile& t, const Segment& segment) {
  Ahead ahead(t.view.head_bytes, kPagesTogether);
  if (segment.is_first) add_pages(t, segment.keys, false, ahead);
  add_pages(t, segment.keys, true, ahead);
  return ahead;
}
inline Ahead ahead_of_values(const PairTile& t, const Segment& segment) {
  Ahead ahead(t.view.head_bytes, kPagesTogether);
  add_pages(t, segment.after, false, ahead);
  return ahead;
}

// A segment by itself: outputs of the pairs that see any of it to scratch.partial, and their
// states.
template <class K>
void attend_segment(const K& kernel, const PairTile& t, const Segment& segment,
                    AttentionState* states) {
  const AttentionScratch& s = t.scratch;
  Ahead ahead = ahead_of_keys(t, segment);
  ahead.spread(kernel.score_work(segment) + t.count() * (segment.count() / kLanes) * kExpWork);
  kernel.scores(segment, ahead);
  for (int64_t i = 0; i < t.count(); ++i) {
    const KeyRange own = overlap(segment.keys, t.keys(i));
    if (own.begin >= own.end) continue;
    states[i] = softmax_segment(s.scores + i * kScoreStride, t.p.scale,
                                {own.begin - segment.first, own.end - segment.first}, ahead);
  }
  ahead = ahead_of_values(t, segment);
  ahead.spread(kernel.value_work(segment));
  kernel.values(segment, ahead);
}

void fold_segment(const PairTile& t, KeyRange keys, const AttentionState* next,
                  AttentionState* states) {
  for (int64_t i = 0; i < t.count(); ++i) {
    const KeyRange own = overlap(keys, t.keys(i));
    if (own.begin < own.end) fold_pair(t.scratch, i, states[i], next[i]);
  }
}

// Segments of a sequence, by number.
struct SegmentRange {
  int64_t begin, end;

  explicit SegmentRange(KeyRange keys)
      : begin(keys.begin / kAttentionSegment),
        end(keys.begin < keys.end ? blocks_of(keys.end, kAttentionSegment) : begin) {}
  SegmentRange(int64_t first, int64_t last) : begin(first), end(last) {}
  int64_t count() const { return end - begin; }
  // One of `parts` parts.
  SegmentRange part(int64_t index, int64_t parts) const {
    return {begin + count() * index / parts, begin + count() * (index + 1) / parts};
  }
};

inline KeyRange keys_of_segment(const PairTile& t, int64_t number) {
  const int64_t first = number * kAttentionSegment;
  return overlap(t.all_keys(), {first, first + kAttentionSegment});
}
inline Segment segment_of(const PairTile& t, const SegmentRange& range, int64_t number) {
  const KeyRange after = number + 1 < range.end ? keys_of_segment(t, number + 1) : KeyRange{};
  return {number * kAttentionSegment, keys_of_segment(t, number), number == range.begin, after};
}

template <class K>
void attend(const PairTile& t) {
  AttentionState states[kMostPairs], next[kMostPairs];
  const K kernel{t};
  kernel.load_queries();
  begin_fold(t, states);
  const SegmentRange range{t.all_keys()};
  for (int64_t number = range.begin; number < range.end; ++number) {
    const Segment segment = segment_of(t, range, number);
    attend_segment(kernel, t, segment, next);
    fold_segment(t, segment.keys, next, states);
  }
  for (int64_t i = 0; i < t.count(); ++i) end_fold(t, i, states[i]);
}
