// Attention of a few pairs (query row and head) over the same keys, as in decoding: keys and values
// go from the cache through registers, nothing is widened into memory. Every score and every output
// element is summed in the order of attention.inl, so both give the same bits.

constexpr int kFewPairs = kLanes == 16 ? 4 : 2;
constexpr int kChains = 4;        // sums in flight: a multiply-add waits for the one before it
constexpr int kAheadKeys = 64;    // values that are asked for before they are used
constexpr int64_t kRunKeys = 32;  // whose values are added to one part of the output, then the next
constexpr int64_t kListedKeys = kAttentionSegment + kAheadKeys;

// Strides in floats; head_dim is a multiple of kLanes and of 8.
struct FewPairs {
  const KvView& view;
  const float* query;
  float* partial;
  int64_t width;  // of query and partial
  float* scores;  // of the first key
  int64_t score_stride;
};

// kLanes keys, and what will be read after them.
struct KeyTurn {
  KeyLanes keys, ahead;
};

// Unscaled scores of kGroups times kLanes keys.
template <int kPairs, int kGroups, class Reader>
__attribute__((noinline)) void score_groups(const FewPairs& p, const KeyTurn (&turns)[kGroups],
                                            float* scores) {
  vf acc[kGroups][kPairs];
  typename Reader::KeyParams params[kGroups] = {};
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) {
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) acc[g][i] = vzero();
  }
  const int64_t head_dim = p.view.head_dim;
  const float* query = p.query;
  for (int64_t begin = 0; begin < head_dim; begin += kKvGroup) {
#pragma GCC unroll 4
    for (int g = 0; Reader::kQuantised && g < kGroups; ++g) {
      const int64_t at = begin / kKvGroup * kKeyStride;
      params[g] = Reader::key_params(load_words(turns[g].keys.params + at));
    }
    const int64_t end = at_most(head_dim, begin + kKvGroup);
    for (int64_t d = begin; d < end; d += Reader::kWide) {
      const int64_t at = d / Reader::kWide * kKeyStride;
      vi words[kGroups];
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        words[g] = load_words(turns[g].keys.codes + at);
        __builtin_prefetch(turns[g].ahead.codes + at, 0, Reader::kLocality);
      }
      for_parts<Reader::kWide>([&]<int kPart>(Part<kPart>) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int g = 0; g < kGroups; ++g) {
          const vf values = Reader::template key_value<kPart>(words[g], params[g]);
#pragma GCC unroll 4
          for (int i = 0; i < kPairs; ++i) {
            acc[g][i] = vfma(vset(query[i * p.width + d + kPart]), values, acc[g][i]);
          }
        }
      });
    }
  }
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) {
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) vstore(scores + i * p.score_stride + g * kLanes, acc[g][i]);
  }
}

// Where the keys or, beyond them, the values lie that are read after the keys before `key`.
inline KeyLanes key_ahead(const KeyColumn& column, KeyRange keys, int64_t key) {
  if (key < keys.end) {
    const KeyPlace place = key_place(column.view, column.pages, column.head, key);
    return {place.codes, place.params};
  }
  const int64_t value = at_most(keys.end - 1, keys.begin + key - keys.end);
  const KvRow row = kv_row(column.view, column.pages, true, column.head, value);
  return {row.codes, row.params};
}

// Unscaled scores of `keys`, those of key k at p.scores + k - keys.begin rounded down to a multiple
// of kLanes; other lanes of the vectors that hold them are written too.
template <int kPairs, class Reader>
void score_few(const FewPairs& p, Reader, const KeyColumn& column, KeyRange keys) {
  constexpr int kGroups = kPairs == 1 || (kPairs == 2 && kLanes == 16) ? kChains : kChains / 2;
  const int64_t first = keys.begin / kLanes * kLanes;
  int64_t key = first;
  const auto turn = [&](int64_t at, int64_t ahead) {
    return KeyTurn{column.lanes(at, keys), key_ahead(column, keys, at + ahead)};
  };
  while (column.in_place() && key + (kGroups - 1) * kLanes < keys.end) {
    KeyTurn turns[kGroups];
    for (int g = 0; g < kGroups; ++g) turns[g] = turn(key + g * kLanes, kAheadKeys);
    score_groups<kPairs, kGroups, Reader>(p, turns, p.scores + (key - first));
    key += kGroups * kLanes;
  }
  for (; key < keys.end; key += kLanes) {
    const KeyTurn turns[1] = {turn(key, kLanes)};
    score_groups<kPairs, 1, Reader>(p, turns, p.scores + (key - first));
  }
}

// Values of one segment, or of some keys of it.
struct ValueRun {
  const KvRow* rows;
  int64_t begin, end;  // keys
};

// partial += sum of weight * value over a run, for kBlocks blocks from element d; lanes of a block
// as the reader orders them.
template <int kPairs, int kBlocks, class Reader>
inline void add_blocks(const FewPairs& p, const ValueRun& run, int64_t d) {
  constexpr int kSteps = Reader::kSteps;
  constexpr int64_t kBlock = int64_t{kSteps} * kLanes;
  vf acc[kPairs][kBlocks * kSteps];
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
#pragma GCC unroll 8
    for (int s = 0; s < kBlocks * kSteps; ++s) {
      acc[i][s] = vload(p.partial + i * p.width + d + s * kLanes);
    }
  }
  for (int64_t key = run.begin; key < run.end; ++key) {
    vf weights[kPairs];
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) weights[i] = vset(p.scores[i * p.score_stride + key]);
    const KvRow& ahead = run.rows[key + kAheadKeys];
    constexpr int64_t kBytes = kBlocks * kBlock * 4 / Reader::kWide;
#pragma GCC unroll 8
    for (int64_t at = 0; at < kBytes; at += 64) {
      __builtin_prefetch(ahead.codes + d * 4 / Reader::kWide + at, 0, Reader::kLocality);
    }
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
      vf values[kSteps];
      Reader::block(run.rows[key], d + b * kBlock, values);
#pragma GCC unroll 8
      for (int s = 0; s < kSteps; ++s) {
#pragma GCC unroll 4
        for (int i = 0; i < kPairs; ++i) {
          vf& sum = acc[i][b * kSteps + s];
          sum = vfma(weights[i], values[s], sum);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
#pragma GCC unroll 8
    for (int s = 0; s < kBlocks * kSteps; ++s) {
      vstore(p.partial + i * p.width + d + s * kLanes, acc[i][s]);
    }
  }
}

// The same for kLanes elements in order.
template <int kPairs, class Reader>
inline void add_narrow(const FewPairs& p, const ValueRun& run, int64_t d) {
  vf acc[kPairs];
  for (int i = 0; i < kPairs; ++i) acc[i] = vload(p.partial + i * p.width + d);
  for (int64_t key = run.begin; key < run.end; ++key) {
    const vf value = Reader::narrow(run.rows[key], d);
    for (int i = 0; i < kPairs; ++i) {
      acc[i] = vfma(vset(p.scores[i * p.score_stride + key]), value, acc[i]);
    }
  }
  for (int i = 0; i < kPairs; ++i) vstore(p.partial + i * p.width + d, acc[i]);
}

// Lanes of a block into the order of the elements.
template <class Reader>
inline void order_block(float* block) {
  constexpr int64_t kBlock = int64_t{Reader::kSteps} * kLanes;
  float lanes[kBlock];
  __builtin_memcpy(lanes, block, sizeof lanes);
  for (int64_t i = 0; i < kBlock; ++i) block[Reader::element(i / kLanes, i % kLanes)] = lanes[i];
}

// partial = sum over `keys` keys of weight * value. All elements of a run of keys before the next
// run, so that memory is read in order.
template <int kPairs, class Reader>
__attribute__((noinline)) void value_few(const FewPairs& p, Reader, const KvRow* rows,
                                         int64_t keys) {
  constexpr int64_t kBlock = int64_t{Reader::kSteps} * kLanes;
  constexpr int kBlocks = at_least(1, (kPairs == 1 ? 2 : 1) * kChains / Reader::kSteps);
  const int64_t head_dim = p.view.head_dim, whole = head_dim / kBlock * kBlock;
  for (int i = 0; i < kPairs; ++i) {
    __builtin_memset(p.partial + i * p.width, 0, static_cast<size_t>(p.width) * sizeof(float));
  }
  const int64_t step = head_dim <= kBlocks * kBlock ? keys : kRunKeys;
  for (int64_t key = 0; key < keys; key += step) {
    const ValueRun run{rows, key, at_most(keys, key + step)};
    int64_t d = 0;
    for (; d + kBlocks * kBlock <= head_dim; d += kBlocks * kBlock) {
      add_blocks<kPairs, kBlocks, Reader>(p, run, d);
    }
    for (; d < whole; d += kBlock) add_blocks<kPairs, 1, Reader>(p, run, d);
    for (; d < head_dim; d += kLanes) add_narrow<kPairs, Reader>(p, run, d);
  }
  for (int i = 0; i < kPairs; ++i) {
    for (int64_t d = 0; d < whole; d += kBlock) order_block<Reader>(p.partial + i * p.width + d);
  }
}
