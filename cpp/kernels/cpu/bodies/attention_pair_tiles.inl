// Attention over bf16 caches on tiles, for heads of whole steps of K. Steps of 32 tokens begin at
// multiples of 32, so a pair's bits do not depend on the others.

class TilePairAttention {
 public:
  explicit TilePairAttention(const PairTile& t) : t_(t), tiles_(t.count(), kTileRowBytes) {}

  void load_queries() const { load_query_pairs(t_); }
  int64_t score_work(const Segment& segment) const {
    return blocks_of(segment.count(), kColumnsWidth) * row_groups() *
           columns_work(t_.view.head_dim / kStep);
  }
  int64_t value_work(const Segment& segment) const {
    return blocks_of(t_.view.head_dim, kColumnsWidth) *
           (row_groups() * columns_work(segment.steps()) +
            copied(segment) / 2 * kTileColumns * kCopyWork);
  }

  void scores(const Segment& segment, Ahead& ahead) const {
    const int64_t begin = (segment.keys.begin - segment.first) / kColumnsWidth * kColumnsWidth;
    for (int64_t k = begin; segment.first + k < segment.keys.end; k += kColumnsWidth) {
      const std::byte* blocks[kTileColumns];
      for (int c = 0; c < kTileColumns; ++c) {
        blocks[c] = t_.key_lanes(segment.first + k + c * kKeyBlock, segment.keys).codes;
      }
      for (int64_t i = 0; i < t_.count(); i += kTileSide) {
        score_columns(blocks, i, t_.scratch.scores + i * kScoreStride + k, ahead);
      }
    }
  }

  void values(const Segment& segment, Ahead& ahead) const {
    for (int64_t i = 0; i < t_.count(); ++i) round_weights(t_, i, segment);
    for (int64_t d = 0; d < t_.view.head_dim; d += kColumnsWidth) {
      if (t_.view.head_dim - d >= kColumnsWidth) {
        add_columns<kTileColumns>(segment, d, ahead);
      } else {
        add_columns<kTileColumns / 2>(segment, d, ahead);
      }
    }
  }

 private:
  static constexpr int64_t kStep = kTileRowBytes / 2;  // of K
  static constexpr int64_t kCopyWork = 3;              // of a vector
  static_assert(kStep == kKeyStep && kStep * 2 == kColumnsWidth);

  // Words of two tokens, of kColumnsWidth elements.
  struct alignas(64) Copies {
    float words[kAttentionSegment / 2][kColumnsWidth];
  };
  struct Steps {
    StridedRows at[kAttentionSegment / kStep];
    bool finite = true;  // those that some pairs must not meet
  };

  const PairTile& t_;
  AttentionTiles tiles_;

  int64_t row_groups() const { return blocks_of(t_.count(), kTileSide); }
  // Whether all pairs see the same keys.
  bool one_row() const { return t_.row(0) == t_.row(t_.count() - 1); }
  // Tokens of a segment that are copied.
  int64_t copied(const Segment& segment) const {
    return one_row() ? segment.steps() * kStep - segment.count() : segment.count();
  }

  __attribute__((noinline)) void score_columns(const std::byte* const (&blocks)[kTileColumns],
                                               int64_t i, float* scores, Ahead& ahead) const {
    const AttentionScratch& s = t_.scratch;
    const ColumnProduct<TileDots::pairs, TileUse::keys, kTileColumns> product{
        {bytes_of(s.query + i * s.width), s.width * 4},
        kTileRowBytes,
        t_.view.head_dim / kStep,
        mutable_bytes_of(scores),
        kScoreStride * 4};
    product.run(
        [&](int64_t step, int column) {
          return StridedRows{blocks[column] + step * kTileSide * kTileRowBytes, kTileRowBytes};
        },
        ahead);
  }

  template <int kColumns>
  __attribute__((noinline)) void add_columns(const Segment& segment, int64_t d,
                                             Ahead& ahead) const {
    const AttentionScratch& s = t_.scratch;
    Copies copies;
    const Steps steps = value_steps<kColumns>(segment, segment.keys, d, copies, ahead);
    if (!steps.finite) return add_alone<kColumns>(segment, d, ahead);
    for (int64_t i = 0; i < t_.count(); i += kTileSide) {
      add_rows<kColumns>(segment, steps, i, {s.partial + i * s.width + d, s.width}, ahead);
    }
  }

  // A pair by itself does not meet values that it does not see.
  template <int kColumns>
  void add_alone(const Segment& segment, int64_t d, Ahead& ahead) const {
    const AttentionScratch& s = t_.scratch;
    for (int64_t i = 0; i < t_.count(); ++i) {
      const KeyRange own = overlap(segment.keys, t_.keys(i));
      if (own.begin >= own.end) continue;
      Copies copies;
      const Steps steps = value_steps<kColumns>(segment, own, d, copies, ahead);
      float sums[kTileSide * kColumnsWidth];
      add_rows<kColumns>(segment, steps, i, {sums, kColumnsWidth}, ahead);
      __builtin_memcpy(s.partial + i * s.width + d, sums, kColumns * kTileRowBytes);
    }
  }

  struct Output {
    float* first;
    int64_t stride;
  };
  template <int kColumns>
  void add_rows(const Segment& segment, const Steps& steps, int64_t i, Output out,
                Ahead& ahead) const {
    const float* weights = t_.scratch.scores + i * kScoreStride;
    const ColumnProduct<TileDots::pairs, TileUse::values, kColumns> product{
        {bytes_of(weights) + (segment.first_step() - segment.first) * 2, kScoreStride * 4},
        kTileRowBytes,
        segment.steps(),
        mutable_bytes_of(out.first),
        out.stride * 4};
    product.run(
        [&](int64_t step, int column) {
          return StridedRows{steps.at[step].first + column * kTileRowBytes, steps.at[step].stride};
        },
        ahead);
  }

  // Where the values of a segment's steps are, elements from `d` on, with zeros for those of
  // tokens that are not in `keys`. If pairs see different keys, all are copied.
  template <int kColumns>
  Steps value_steps(const Segment& segment, KeyRange keys, int64_t d, Copies& copies,
                    Ahead& ahead) const {
    Steps steps;
    __mmask32 special = 0;
    const bool in_place = one_row() && t_.view.page_tokens >= kStep;
    for (int64_t s = 0; s < segment.steps(); ++s) {
      const int64_t begin = segment.first_step() + s * kStep;
      const KeyRange seen = overlap(keys, {begin, begin + kStep});
      if (in_place && seen.end - seen.begin == kStep) {
        steps.at[s] = {t_.values().at(begin).codes + d * 4, int64_t{t_.view.head_dim} * 4};
        continue;
      }
      float* to = copies.words[s * kStep / 2];
      ahead.touch(kStep / 2 * kColumns * kCopyWork);
      special |= copy_step<kColumns>(begin, seen, d, to);
      steps.at[s] = {bytes_of(to), kColumnsWidth * 4};
    }
    steps.finite = one_row() || special == 0;
    return steps;
  }

  // Returns which values are not finite.
  template <int kColumns>
  __mmask32 copy_step(int64_t begin, KeyRange seen, int64_t d, float* to) const {
    const KeyRange whole{blocks_of(seen.begin, 2) * 2, seen.end / 2 * 2};
    const auto at = [&](int64_t key) { return to + (key - begin) / 2 * kColumnsWidth; };
    __builtin_memset(to, 0, kStep / 2 * kColumnsWidth * sizeof(float));
    if (seen.begin >= seen.end) return 0;
    __mmask32 special = 0;
    if (seen.begin < whole.begin) {
      special |= copy_words<kColumns>(whole.begin - 2, 1, 0xffff0000u, d, at(whole.begin - 2));
    }
    for (int64_t key = whole.begin; key < whole.end;) {
      const int64_t end = at_most(whole.end, t_.values().page_end(key));
      special |= copy_words<kColumns>(key, (end - key) / 2, 0xffffffffu, d, at(key));
      key = end;
    }
    if (whole.end < seen.end) {
      special |= copy_words<kColumns>(whole.end, 1, 0x0000ffffu, d, at(whole.end));
    }
    return special;
  }

  // Words from that of `key` on, of one page, without what is not in the mask.
  template <int kColumns>
  __mmask32 copy_words(int64_t key, int64_t count, uint32_t mask, int64_t d, float* to) const {
    const float* from = floats_of(t_.values().at(key).codes) + d;
    const vi kept = vset_i(static_cast<int32_t>(mask)), exponents = vset_i(0x7f807f80);
    __mmask32 special = 0;
    for (; count > 0; --count, from += t_.view.head_dim, to += kColumnsWidth) {
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) {
        const vi words = vand_i(vbits(vload(from + c * kLanes)), kept);
        special |= _mm512_cmpeq_epi16_mask(vand_i(words, exponents), exponents);
        vstore(to + c * kLanes, vfrom_bits(words));
      }
    }
    return special;
  }
};
