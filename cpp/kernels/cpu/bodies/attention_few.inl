// Attention of a few pairs (query row and head) over the same keys, as in decoding: keys and values
// go from the cache through registers, nothing is widened into memory. Every score and every output
// element is summed in the order of attention.inl, so both give the same bits.

constexpr int kFewPairs = 4;
constexpr int kValueVectors = 4;  // of a value row at a time
static_assert(kKvGroup % (kValueVectors * kLanes) == 0);

// Strides in floats; head_dim is a multiple of kLanes.
struct FewPairs {
  int64_t head_dim;
  const float* query;
  float* partial;
  int64_t width;  // of query and partial
  float* scores;  // of the first key
  int64_t score_stride;
};

// Unscaled scores of `keys` keys; up to kLanes - 1 more are written.
template <int kPairs, class Reader>
inline void score_few(const FewPairs& p, Reader reader, const KvRow* rows, int64_t keys) {
  for (int64_t key = 0; key < keys; key += kLanes) {
    vf acc[kPairs];
    KvRow at[kLanes];
    typename Reader::Params params[kLanes];
    for (int i = 0; i < kPairs; ++i) acc[i] = vzero();
    for (int i = 0; i < kLanes; ++i) at[i] = rows[at_most(key + i, keys - 1)];
    for (int64_t d = 0; d < p.head_dim; d += kLanes) {
      if (d % kKvGroup == 0) {
        for (int i = 0; i < kLanes; ++i) params[i] = reader.params(at[i], d);
      }
      vf columns[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) columns[i] = reader.load(at[i], d, params[i]);
      vtranspose(columns);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) {
#pragma GCC unroll 4
        for (int i = 0; i < kPairs; ++i) {
          acc[i] = vfma(vset(p.query[i * p.width + d + j]), columns[j], acc[i]);
        }
      }
    }
    for (int i = 0; i < kPairs; ++i) vstore(p.scores + i * p.score_stride + key, acc[i]);
  }
}

// partial = sum over `keys` keys of weight * value, for kVectors vectors from element d.
template <int kPairs, int kVectors, class Reader>
inline void add_few(const FewPairs& p, Reader reader, const KvRow* rows, int64_t keys, int64_t d) {
  vf acc[kPairs][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[i][v] = vzero();
  }
  for (int64_t key = 0; key < keys; ++key) {
    const KvRow row = rows[key];
    const auto params = reader.params(row, d);
    vf weights[kPairs];
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) weights[i] = vset(p.scores[i * p.score_stride + key]);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const vf value = reader.load(row, d + v * kLanes, params);
#pragma GCC unroll 4
      for (int i = 0; i < kPairs; ++i) acc[i][v] = vfma(weights[i], value, acc[i][v]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kPairs; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      vstore(p.partial + i * p.width + d + v * kLanes, acc[i][v]);
    }
  }
}

template <int kPairs, class Reader>
inline void value_few(const FewPairs& p, Reader reader, const KvRow* rows, int64_t keys) {
  int64_t d = 0;
  for (; d + kValueVectors * kLanes <= p.head_dim; d += kValueVectors * kLanes) {
    add_few<kPairs, kValueVectors>(p, reader, rows, keys, d);
  }
  for (; d < p.head_dim; d += kLanes) add_few<kPairs, 1>(p, reader, rows, keys, d);
}
