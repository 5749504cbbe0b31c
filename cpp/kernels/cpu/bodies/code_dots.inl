// Exact dot products of weight codes, or of those of a KV cache, by int8 codes.

// Words of codes, a vector from each place; the next ones are `stride` bytes on.
struct CodeWords {
  const std::byte* at[kRowVectors];
  int64_t stride = kTileRows * 4;
};

template <int kRows>
using RowDots = Dots[kRows][kRowVectors];

struct CodeRows {
  const std::byte* first;
  int64_t stride;
};

constexpr int64_t kVectorBytes = kLanes * 4;

// The next word of every vector.
class WordReader {
 public:
  explicit WordReader(const CodeWords& words) : stride_(words.stride) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) at_[v] = words.at[v];
  }
  void next(Codes (&codes)[kRowVectors]) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      codes[v] = vload_codes(at_[v]);
      at_[v] += stride_;
    }
  }

 private:
  const std::byte* at_[kRowVectors];
  int64_t stride_;
};

// Values of kBits in words of kCodeBits a value: k in a word of 32 bits, and bytes of input that it
// is multiplied by.
template <int kCodeBits>
constexpr int kWordDepth = 32 / kCodeBits;
template <int kCodeBits>
constexpr int kWordInputs = kCodeBits == 16 ? 4 : kWordDepth<kCodeBits>;

// Leaves the registers to others meanwhile.
template <int kRows>
inline void keep_in_memory(RowDots<kRows>& dots) {
  asm("" : "+m"(dots));
}

// Sums of products of nibbles in fewer bits.
template <int kBits, int kRows>
using NarrowDots = typename NarrowSums<kBits>::Sums[kRows][kRowVectors];

// Nibbles of kWords words, two to a byte or one.
template <int kBits, int kRows, int kCodeBits, int kWords>
inline void narrow_words(WordReader& words, RowPointers<kRows>& at,
                         NarrowDots<kBits, kRows>& sums) {
  using Narrow = NarrowSums<kBits>;
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) sums[i][v] = typename Narrow::Sums{};
  }
#pragma GCC unroll 1
  for (int word = 0; word < kWords; ++word) {
    Codes codes[kRowVectors], high[kRowVectors];
    words.next(codes);
    if constexpr (kCodeBits == 4) {
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) {
        high[v] = high_nibbles(codes[v]);
        codes[v] = low_nibbles(codes[v]);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Inputs4 x = inputs4(int_at(at[i]));
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) sums[i][v] += Narrow::product(codes[v], x);
      if constexpr (kCodeBits == 4) {
        const Inputs4 x_high = inputs4(int_at(at[i] + 4));
#pragma GCC unroll 4
        for (int v = 0; v < kRowVectors; ++v) sums[i][v] += Narrow::product(high[v], x_high);
      }
    }
    at.step(kWordInputs<kCodeBits>);
  }
}

// K of whole narrow sums.
template <int kBits>
constexpr int64_t kNarrowDepth = NarrowSums<kBits>::kMost > 0 ? NarrowSums<kBits>::kMost * 4 : 1;

// The same, added to dots, which leave the registers meanwhile.
template <int kBits, int kRows, int kCodeBits, int kWords>
inline void add_nibble_words(WordReader& words, RowPointers<kRows>& at, RowDots<kRows>& dots) {
  NarrowDots<kBits, kRows> sums;
  keep_in_memory<kRows>(dots);
  narrow_words<kBits, kRows, kCodeBits, kWords>(words, at, sums);
  keep_in_memory<kRows>(dots);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      dots[i][v] = NarrowSums<kBits>::add_to(dots[i][v], sums[i][v]);
    }
  }
}

// A word of every vector.
template <int kRows, int kCodeBits>
inline void add_word(const Codes (&codes)[kRowVectors], const RowPointers<kRows>& at,
                     RowDots<kRows>& dots) {
  if constexpr (kCodeBits == 16) {
    using Wide = Widening<kCodeBits / 2>;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Inputs4 inputs = inputs4(int_at(at[i]));
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) dots[i][v] = Wide::dot(dots[i][v], codes[v], inputs);
    }
  } else if constexpr (kCodeBits == 8) {
    Weights8 weights[kRowVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) weights[v] = weights8(codes[v]);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Inputs8 inputs = inputs8(int_at(at[i]));
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) dots[i][v] = dot8(dots[i][v], weights[v], inputs);
    }
  } else {
    Codes low[kRowVectors], high[kRowVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) {
      low[v] = low_nibbles(codes[v]);
      high[v] = high_nibbles(codes[v]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Inputs4 x_low = inputs4(int_at(at[i])), x_high = inputs4(int_at(at[i] + 4));
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) {
        dots[i][v] = dot4(dot4(dots[i][v], low[v], x_low), high[v], x_high);
      }
    }
  }
}

// The codes of `depth` k, of kBits in kCodeBits, against kRows rows of inputs.
template <int kRows, int kCodeBits, int kBits>
inline void add_words(WordReader& reader, RowPointers<kRows>& at, int64_t depth,
                      RowDots<kRows>& dots) {
  constexpr int kInWord = kWordDepth<kCodeBits>;
  if constexpr (NarrowSums<kBits>::kMost > 0) {
    constexpr int64_t kPart = kNarrowDepth<kBits>;
    for (; depth >= kPart; depth -= kPart) {
      add_nibble_words<kBits, kRows, kCodeBits, kPart / kInWord>(reader, at, dots);
    }
    for (; depth > 0; depth -= kInWord)
      add_nibble_words<kBits, kRows, kCodeBits, 1>(reader, at, dots);
  } else {
    for (int64_t k = 0; k < depth; k += kInWord, at.step(kWordInputs<kCodeBits>)) {
      Codes codes[kRowVectors];
      reader.next(codes);
      add_word<kRows, kCodeBits>(codes, at, dots);
    }
  }
}

template <int kRows, int kBits>
inline void add_dots(const CodeWords& words, const CodeRows& rows, int64_t depth,
                     RowDots<kRows>& dots) {
  RowPointers<kRows> at(rows.first, rows.stride);
  WordReader reader(words);
  add_words<kRows, kBits, kBits>(reader, at, depth, dots);
}
