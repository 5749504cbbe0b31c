// Attention of a few pairs (query row and head) over the same keys of a raw cache, as in decoding:
// keys and values go from the cache through registers, nothing is widened into memory. Every score
// and every output element is summed in the order of attention_floats.inl, so both give the same
// bits.

constexpr int kFewPairs = kLanes == 16 ? 4 : 2;
constexpr int kChains = 4;        // sums in flight: a multiply-add waits for the one before it
constexpr int64_t kTurnKeys = 8;  // whose values are added in one go
constexpr int64_t kRunKeys = 32;  // whose values are added to one part of the output, then the next

// Strides in floats; head_dim is a multiple of kLanes and of 8.
struct FewPairs {
  const KvView& view;
  const float* query;
  float* partial;
  int64_t width;  // of query and partial
  float* scores;  // of the first key
  int64_t score_stride;
};

// Vectors are widened and multiplied.
inline constexpr int64_t few_work(int64_t pairs, int64_t vectors) { return (pairs + 1) * vectors; }

// Unscaled scores of kGroups times kLanes keys.
template <int kPairs, int kGroups, class Reader>
__attribute__((noinline)) void score_groups(const FewPairs& p,
                                            const std::byte* const (&keys)[kGroups], float* scores,
                                            Ahead& ahead) {
  vf acc[kGroups][kPairs];
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) {
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) acc[g][i] = vzero();
  }
  const float* query = p.query;
  for (int64_t d = 0; d < p.view.head_dim; d += Reader::kWide) {
    if (d % kTurnElements == 0) ahead.touch(few_work(kPairs, kTurnElements * kGroups));
    const int64_t at = d / Reader::kWide * kKeyStride;
    vi words[kGroups];
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) words[g] = load_words(keys[g] + at);
    for_parts<Reader::kWide>([&]<int kPart>(Part<kPart>) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int g = 0; g < kGroups; ++g) {
        const vf values = Reader::template key_value<kPart>(words[g], vi{});
#pragma GCC unroll 4
        for (int i = 0; i < kPairs; ++i) {
          acc[g][i] = vfma(vset(query[i * p.width + d + kPart]), values, acc[g][i]);
        }
      }
    });
  }
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) {
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) vstore(scores + i * p.score_stride + g * kLanes, acc[g][i]);
  }
}

// Unscaled scores of `keys`, those of key k at p.scores + k - keys.begin rounded down to a multiple
// of kLanes; other lanes of the vectors that hold them are written too.
template <int kPairs, class Reader>
void score_few(const FewPairs& p, Reader, const KvColumn& column, KeyRange keys, Ahead& ahead) {
  constexpr int kGroups = kPairs == 1 || (kPairs == 2 && kLanes == 16) ? kChains : kChains / 2;
  const int64_t first = keys.begin / kLanes * kLanes;
  int64_t key = first;
  for (; key + (kGroups - 1) * kLanes < keys.end; key += kGroups * kLanes) {
    const std::byte* groups[kGroups];
    for (int g = 0; g < kGroups; ++g) groups[g] = column.at(key + g * kLanes).codes;
    score_groups<kPairs, kGroups, Reader>(p, groups, p.scores + (key - first), ahead);
  }
  for (; key < keys.end; key += kLanes) {
    const std::byte* groups[1] = {column.at(key).codes};
    score_groups<kPairs, 1, Reader>(p, groups, p.scores + (key - first), ahead);
  }
}

// Values of one segment, or of some keys of it, by token.
struct ValueRun {
  std::byte* const* tokens;
  int64_t begin, end;  // keys
};

// partial += sum of weight * value over a run, for kBlocks vectors from element d.
template <int kPairs, int kBlocks, class Reader>
inline void add_blocks(const FewPairs& p, const ValueRun& run, int64_t d, Ahead& ahead) {
  vf acc[kPairs][kBlocks];
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) acc[i][b] = vload(p.partial + i * p.width + d + b * kLanes);
  }
  for (int64_t key = run.begin; key < run.end; ++key) {
    vf weights[kPairs];
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) weights[i] = vset(p.scores[i * p.score_stride + key]);
    if (key % kTurnKeys == 0) ahead.touch(few_work(kPairs, kTurnKeys * kBlocks));
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
      const vf values = Reader::values({run.tokens[key], nullptr}, d + b * kLanes, kLanes);
#pragma GCC unroll 4
      for (int i = 0; i < kPairs; ++i) acc[i][b] = vfma(weights[i], values, acc[i][b]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) vstore(p.partial + i * p.width + d + b * kLanes, acc[i][b]);
  }
}

// partial = sum over `keys` keys of weight * value. All elements of a run of keys before the next
// run, so that memory is read in order.
template <int kPairs, class Reader>
__attribute__((noinline)) void value_few(const FewPairs& p, Reader, std::byte* const* tokens,
                                         int64_t keys, Ahead& ahead) {
  constexpr int kBlocks = (kPairs == 1 ? 2 : 1) * kChains;
  const int64_t head_dim = p.view.head_dim;
  for (int i = 0; i < kPairs; ++i) {
    __builtin_memset(p.partial + i * p.width, 0, static_cast<size_t>(p.width) * sizeof(float));
  }
  const int64_t step = head_dim <= kBlocks * kLanes ? keys : kRunKeys;
  for (int64_t key = 0; key < keys; key += step) {
    const ValueRun run{tokens, key, at_most(keys, key + step)};
    int64_t d = 0;
    for (; d + kBlocks * kLanes <= head_dim; d += kBlocks * kLanes) {
      add_blocks<kPairs, kBlocks, Reader>(p, run, d, ahead);
    }
    for (; d < head_dim; d += kLanes) add_blocks<kPairs, 1, Reader>(p, run, d, ahead);
  }
}
