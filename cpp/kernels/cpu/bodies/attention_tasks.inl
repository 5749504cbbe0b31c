// Which worker attends to what. A task is a tile of pairs of one KV head; where there are few of
// them for the workers, those of long sequences are cut between segments into parts, whose results
// wait in memory and are folded in order afterwards: the bits are those of one worker.

constexpr int64_t kUnitsPerWorker = 4;
constexpr int64_t kLeastSegments = 4;  // of a part: queries are loaded for each

// Results of segments, in the scratch that attention leaves of every worker's.
struct SegmentRoom {
  const KernelContext& context;
  int64_t width, pairs;  // floats of a pair's output; pairs of a task at most

  int64_t bytes() const {  // of a segment
    constexpr int64_t kState = sizeof(AttentionState);
    return blocks_of(pairs * (width * 4 + kState), 64) * 64;
  }
  int64_t offset() const { return blocks_of(attention_scratch_bytes(width), 64) * 64; }
  int64_t per_worker() const {
    return (static_cast<int64_t>(kScratchBytesPerWorker) - offset()) / bytes();
  }
  int64_t count() const { return per_worker() * context.parallel.workers; }
  float* output(int64_t index) const {
    return floats_of(context.scratch + index / per_worker() * kScratchBytesPerWorker + offset() +
                     index % per_worker() * bytes());
  }
  AttentionState* states(int64_t index) const {
    return static_cast<AttentionState*>(static_cast<void*>(output(index) + pairs * width));
  }
  void keep(int64_t index, const PairTile& t, const AttentionState* found) const {
    __builtin_memcpy(output(index), t.scratch.partial,
                     static_cast<size_t>(t.count() * width) * sizeof(float));
    __builtin_memcpy(states(index), found, static_cast<size_t>(t.count()) * sizeof(AttentionState));
  }
};

// How the spans of an op are divided.
class AttentionTasks {
 public:
  // A task or a part of one.
  struct Unit {
    const SpanView* span;
    int64_t kv_head, tile, part, parts;
    int64_t first_result;  // of the task's segments; parts == 1: there are none
  };

  AttentionTasks(const AttentionParams& p, const KvView& view, const KernelContext& context)
      : p_(p),
        kv_heads_(view.kv_heads),
        group_(p.heads / view.kv_heads),
        width_(blocks_of(view.head_dim, kTileWidth) * kTileWidth),
        pairs_(pairs_per_task(width_)),
        room_{context, width_, 0} {
    if (context.parallel.workers == 1) return;
    int64_t segments = 0;
    for_spans([&](const SpanView& span) { segments += tasks(span) * most_segments(span); });
    const int64_t units = kUnitsPerWorker * context.parallel.workers;
    each_ = at_least(kLeastSegments, blocks_of(segments, units));
    for_spans([&](const SpanView& span) {
      if (parts(span) > 1)
        room_.pairs = at_least(room_.pairs, at_most(pairs_, span.count * group_));
    });
    int64_t results = 0;
    for_spans([&](const SpanView& span) { results += results_of(span); });
    if (room_.pairs == 0 || results > room_.count()) each_ = kNoParts;
  }

  int64_t width() const { return width_; }
  const SegmentRoom& room() const { return room_; }
  int64_t units() const {
    int64_t count = 0;
    for_spans([&](const SpanView& span) { count += tasks(span) * parts(span); });
    return count;
  }
  // Whole tasks of which there are parts.
  int64_t folds() const {
    int64_t count = 0;
    for_spans([&](const SpanView& span) { count += parts(span) > 1 ? tasks(span) : 0; });
    return count;
  }
  Unit unit(int64_t index) const { return find(index, false); }
  Unit fold(int64_t index) const { return find(index, true); }

  PairTile tile(const Unit& unit, const KvView& view, const AttentionScratch& scratch) const {
    const int64_t end = at_most(unit.span->count * group_, (unit.tile + 1) * pairs_);
    return {p_, view, *unit.span, unit.kv_head, group_, unit.tile * pairs_, end, scratch};
  }

 private:
  static constexpr int64_t kNoParts = INT64_MAX / 2;

  template <class F>
  void for_spans(F f) const {
    for (int32_t i = 0; i < p_.span_count; ++i) f(p_.spans[i]);
  }
  int64_t tasks(const SpanView& span) const {
    return blocks_of(span.count * group_, pairs_) * kv_heads_;
  }
  // That a task of the span sees, at most.
  int64_t most_segments(const SpanView& span) const {
    const int64_t end = at_most(span.position + span.count, span.key_end);
    const int64_t keys = at_least(0, end - at_least(0, span.key_begin));
    const int64_t seen = p_.window > 0 ? at_most(keys, int64_t{p_.window} + span.count) : keys;
    return seen == 0 ? 0 : seen / kAttentionSegment + 2;
  }
  int64_t parts(const SpanView& span) const {
    const int64_t segments = most_segments(span);
    return segments > each_ ? blocks_of(segments, each_) : 1;
  }
  int64_t results_of(const SpanView& span) const {
    return parts(span) > 1 ? tasks(span) * most_segments(span) : 0;
  }

  Unit find(int64_t index, bool fold) const {
    int64_t results = 0;
    int32_t i = 0;
    for (;; ++i) {
      const SpanView& span = p_.spans[i];
      const int64_t cut = parts(span);
      const int64_t here = fold ? (cut > 1 ? tasks(span) : 0) : tasks(span) * cut;
      if (index < here) break;
      index -= here;
      results += results_of(span);
    }
    const SpanView& span = p_.spans[i];
    const int64_t cut = fold ? 1 : parts(span), task = index / cut;
    return {&span,       task % kv_heads_, task / kv_heads_,
            index % cut, parts(span),      results + task * most_segments(span)};
  }

  const AttentionParams& p_;
  int64_t kv_heads_, group_;  // group: query heads per kv head
  int64_t width_, pairs_;
  SegmentRoom room_;
  int64_t each_ = kNoParts;  // segments of a part
};

// Leaves the results of a part's segments.
template <class K>
void attend_part(const PairTile& t, const AttentionTasks::Unit& unit, const SegmentRoom& room) {
  const SegmentRange all{t.all_keys()}, range = all.part(unit.part, unit.parts);
  AttentionState states[kMostPairs];
  const K kernel{t};
  kernel.load_queries();
  for (int64_t number = range.begin; number < range.end; ++number) {
    attend_segment(kernel, t, segment_of(t, range, number), states);
    room.keep(unit.first_result + number - all.begin, t, states);
  }
}

void fold_parts(PairTile t, const AttentionTasks::Unit& unit, const SegmentRoom& room) {
  AttentionState states[kMostPairs];
  begin_fold(t, states);
  const SegmentRange all{t.all_keys()};
  for (int64_t number = all.begin; number < all.end; ++number) {
    const int64_t result = unit.first_result + number - all.begin;
    t.scratch.partial = room.output(result);
    fold_segment(t, keys_of_segment(t, number), room.states(result), states);
  }
  for (int64_t i = 0; i < t.count(); ++i) end_fold(t, i, states[i]);
}

template <class K>
void run_attention(const AttentionParams& p, const KernelContext& context) {
  const KvView view = kv_view(p.layout);
  const AttentionTasks tasks(p, view, context);
  const auto tile_of = [&](const AttentionTasks::Unit& unit, int worker) {
    return tasks.tile(unit, view, attention_scratch(context, worker, tasks.width()));
  };
  context.parallel.for_each(tasks.units(), [&](int64_t index, int worker) {
    const AttentionTasks::Unit unit = tasks.unit(index);
    if (unit.parts > 1) return attend_part<K>(tile_of(unit, worker), unit, tasks.room());
    attend<K>(tile_of(unit, worker));
  });
  context.parallel.for_each(tasks.folds(), [&](int64_t index, int worker) {
    const AttentionTasks::Unit unit = tasks.fold(index);
    fold_parts(tile_of(unit, worker), unit, tasks.room());
  });
}
