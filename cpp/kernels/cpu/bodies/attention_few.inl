// Attention of a few pairs (query row and head) over the same keys, as in decoding: keys and values
// go from the cache through registers, nothing is widened into memory. Every score and every output
// element is summed in the order of attention.inl, so both give the same bits.

constexpr int kFewPairs = kLanes == 16 ? 4 : 2;
constexpr int kChains = 4;      // sums in flight: a multiply-add waits for the one before it
constexpr int kAheadKeys = 64;  // values that are asked for before they are used
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
  KeyLanes keys;
  const std::byte* ahead;
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
  const bool quantised = p.view.quantised;
  const float* query = p.query;
  for (int64_t begin = 0; begin < head_dim; begin += kKvGroup) {
#pragma GCC unroll 4
    for (int g = 0; quantised && g < kGroups; ++g) {
      const std::byte* at = turns[g].keys.params + begin / kKvGroup * kKeyStride;
      params[g] = Reader::key_params(load_words(at));
    }
    const int64_t end = at_most(head_dim, begin + kKvGroup);
    for (int64_t d = begin; d < end; d += Reader::kWide) {
      const int64_t at = d / Reader::kWide * kKeyStride;
      vi words[kGroups];
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        words[g] = load_words(turns[g].keys.codes + at);
        __builtin_prefetch(turns[g].ahead + at);
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
inline const std::byte* key_ahead(const KeyColumn& column, KeyRange keys, int64_t key) {
  if (key < keys.end) return key_place(column.view, column.pages, column.head, key).codes;
  const int64_t value = at_most(keys.end - 1, keys.begin + key - keys.end);
  return kv_row(column.view, column.pages, true, column.head, value).codes;
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
    for (int g = 0; g < kGroups; ++g) turns[g] = turn(key + g * kLanes, kGroups * kLanes);
    score_groups<kPairs, kGroups, Reader>(p, turns, p.scores + (key - first));
    key += kGroups * kLanes;
  }
  for (; key < keys.end; key += kLanes) {
    const KeyTurn turns[1] = {turn(key, kLanes)};
    score_groups<kPairs, 1, Reader>(p, turns, p.scores + (key - first));
  }
}

// partial = sum over `keys` keys of weight * value, for kBlocks blocks from element d.
template <int kPairs, int kBlocks, class Reader>
inline void add_blocks(const FewPairs& p, const KvRow* rows, int64_t keys, int64_t d) {
  constexpr int kSteps = Reader::kSteps;
  constexpr int64_t kBlock = int64_t{kSteps} * kLanes;
  vf acc[kPairs][kBlocks][kSteps];
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 8
      for (int s = 0; s < kSteps; ++s) acc[i][b][s] = vzero();
    }
  }
  for (int64_t key = 0; key < keys; ++key) {
    vf weights[kPairs];
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) weights[i] = vset(p.scores[i * p.score_stride + key]);
    const std::byte* ahead = rows[key + kAheadKeys].codes + d * 4 / Reader::kWide;
    constexpr int64_t kBytes = kBlocks * kBlock * 4 / Reader::kWide;
#pragma GCC unroll 8
    for (int64_t at = 0; at < kBytes; at += 64) __builtin_prefetch(ahead + at);
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
      vf values[kSteps];
      Reader::block(rows[key], d + b * kBlock, values);
#pragma GCC unroll 8
      for (int s = 0; s < kSteps; ++s) {
#pragma GCC unroll 4
        for (int i = 0; i < kPairs; ++i) acc[i][b][s] = vfma(weights[i], values[s], acc[i][b][s]);
      }
    }
  }
  for (int i = 0; i < kPairs; ++i) {
    for (int b = 0; b < kBlocks; ++b) {
      float* to = p.partial + i * p.width + d + b * kBlock;
      for (int s = 0; s < kSteps; ++s) {
        float lanes[kLanes];
        vstore(lanes, acc[i][b][s]);
        for (int lane = 0; lane < kLanes; ++lane) to[Reader::element(s, lane)] = lanes[lane];
      }
    }
  }
}

// The same for kLanes elements.
template <int kPairs, class Reader>
inline void add_narrow(const FewPairs& p, const KvRow* rows, int64_t keys, int64_t d) {
  vf acc[kPairs];
  for (int i = 0; i < kPairs; ++i) acc[i] = vzero();
  for (int64_t key = 0; key < keys; ++key) {
    const vf value = Reader::narrow(rows[key], d);
    for (int i = 0; i < kPairs; ++i) {
      acc[i] = vfma(vset(p.scores[i * p.score_stride + key]), value, acc[i]);
    }
  }
  for (int i = 0; i < kPairs; ++i) vstore(p.partial + i * p.width + d, acc[i]);
}

template <int kPairs, class Reader>
__attribute__((noinline)) void value_few(const FewPairs& p, Reader, const KvRow* rows,
                                         int64_t keys) {
  constexpr int64_t kBlock = int64_t{Reader::kSteps} * kLanes;
  constexpr int kBlocks = at_least(1, (kPairs == 1 ? 2 : 1) * kChains / Reader::kSteps);
  const int64_t head_dim = p.view.head_dim;
  int64_t d = 0;
  for (; d + kBlocks * kBlock <= head_dim; d += kBlocks * kBlock) {
    add_blocks<kPairs, kBlocks, Reader>(p, rows, keys, d);
  }
  for (; d + kBlock <= head_dim; d += kBlock) add_blocks<kPairs, 1, Reader>(p, rows, keys, d);
  for (; d < head_dim; d += kLanes) add_narrow<kPairs, Reader>(p, rows, keys, d);
}
