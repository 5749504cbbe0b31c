// How attention reads keys and values, by format. A token's codes are words of 4 bytes with kWide
// values each.
//
// kLocality: how near what is asked for ahead comes, 2 or 3 (best found by trial).
//
// Keys, as many as there are lanes:
//   KeyParams key_params(words)       what decodes a group, from the words of its params
//   vf key_value<j>(words, params)    value j of the words
//
// Values of one token come in blocks of kSteps vectors, in the order that costs least: lane `lane`
// of vector `step` is element(step, lane) of the block.
//   void block(row, i, values)        the block from value i on
//   vf narrow(row, i)                 kLanes values in order
inline vi load_words(const std::byte* p) { return vbits(LoadF32::load(p)); }
inline vf low_half(vi words) { return vfrom_bits(vshift_left<16>(words)); }
inline vf high_half(vi words) {
  return vfrom_bits(vand_i(words, vset_i(static_cast<int32_t>(0xffff0000u))));
}

struct F32Reader {
  static constexpr bool kQuantised = false;
  static constexpr int kLocality = 2;
  static constexpr int kWide = 1, kSteps = 1;
  struct KeyParams {};
  static KeyParams key_params(vi) { return {}; }
  template <int>
  static vf key_value(vi words, KeyParams) {
    return vfrom_bits(words);
  }
  static vf narrow(const KvRow& row, int64_t i) { return LoadF32::load(row.codes + i * 4); }
  static void block(const KvRow& row, int64_t i, vf (&values)[kSteps]) {
    values[0] = narrow(row, i);
  }
  static int64_t element(int64_t, int64_t lane) { return lane; }
};

struct F16Reader {
  static constexpr bool kQuantised = false;
  static constexpr int kLocality = 2;
  static constexpr int kWide = 2, kSteps = 1;
  struct KeyParams {};
  static KeyParams key_params(vi) { return {}; }
  template <int kPart>
  static vf key_value(vi words, KeyParams) {
    std::byte halves[kLanes * 2];
    vstore_u16(halves, vshift_right<16 * kPart>(words));
    return vload_f16(halves);
  }
  static vf narrow(const KvRow& row, int64_t i) { return LoadF16::load(row.codes + i * 2); }
  static void block(const KvRow& row, int64_t i, vf (&values)[kSteps]) {
    values[0] = narrow(row, i);
  }
  static int64_t element(int64_t, int64_t lane) { return lane; }
};

struct Bf16Reader {
  static constexpr bool kQuantised = false;
  static constexpr int kLocality = 2;
  static constexpr int kWide = 2, kSteps = 2;
  struct KeyParams {};
  static KeyParams key_params(vi) { return {}; }
  template <int kPart>
  static vf key_value(vi words, KeyParams) {
    return kPart == 0 ? low_half(words) : high_half(words);
  }
  static vf narrow(const KvRow& row, int64_t i) { return LoadBf16::load(row.codes + i * 2); }
  static void block(const KvRow& row, int64_t i, vf (&values)[kSteps]) {
    const vi pairs = load_words(row.codes + i * 2);
    values[0] = low_half(pairs);
    values[1] = high_half(pairs);
  }
  static int64_t element(int64_t step, int64_t lane) { return lane * kWide + step; }
};

struct Int8Reader {
  static constexpr bool kQuantised = true;
  static constexpr int kLocality = 2;
  static constexpr int kWide = 4, kSteps = 4;
  using KeyParams = vf;  // scales
  static KeyParams key_params(vi words) { return low_half(words); }
  template <int kPart>
  static vf key_value(vi words, KeyParams scales) {
    return vmul(scales, vbyte<kPart>(words));
  }
  static vf narrow(const KvRow& row, int64_t i) {
    return int8_values(vload_u8(row.codes + i), bf16_at(row.params, i / kKvGroup * 2));
  }
  static void block(const KvRow& row, int64_t i, vf (&values)[kSteps]) {
    const vf scale = vset(bf16_at(row.params, i / kKvGroup * 2));
    const vi codes = load_words(row.codes + i);
    values[0] = key_value<0>(codes, scale);
    values[1] = key_value<1>(codes, scale);
    values[2] = key_value<2>(codes, scale);
    values[3] = key_value<3>(codes, scale);
  }
  static int64_t element(int64_t step, int64_t lane) { return lane * kWide + step; }
};

struct Int4Reader {
  static constexpr bool kQuantised = true;
  static constexpr int kLocality = 3;
  static constexpr int kWide = 8;
  static constexpr int64_t kBlockWords = kLanes < 8 ? kLanes : 8;
  static constexpr int kSteps = static_cast<int>(kBlockWords * kWide / kLanes);
  struct KeyParams {
    vf scale, bias;
  };
  static KeyParams key_params(vi words) { return {low_half(words), high_half(words)}; }
  template <int kPart>
  static vf key_value(vi words, const KeyParams& params) {
    const vf codes = vnibble(nibbles(1.0f, 0.0f), vshift_right<4 * kPart>(words));
    return vfma(params.scale, codes, params.bias);
  }
  static vf narrow(const KvRow& row, int64_t i) {
    const int64_t group = i / kKvGroup * 2;
    return int4_values(vload_nibbles(row.codes + i / 2), bf16_at(row.params, group),
                       bf16_at(row.params, group + 1));
  }
  static void block(const KvRow& row, int64_t i, vf (&values)[kSteps]) {
    const int64_t group = i / kKvGroup * 2;
    const Nibbles table = nibbles(bf16_at(row.params, group), bf16_at(row.params, group + 1));
    const vi codes = vload_nibble_words(row.codes + i / 2);
    for_parts<kSteps>([&]<int kStep>(Part<kStep>) __attribute__((always_inline)) {
      values[kStep] = vnibble(table, vshift_right<4 * kStep>(codes));
    });
  }
  static int64_t element(int64_t step, int64_t lane) {
    return lane % kBlockWords * kWide + lane / kBlockWords * kSteps + step;
  }
};

// Calls f(Reader{}) for the reader of a cache.
template <class F>
inline void with_reader(const KvView& view, F f) {
  if (view.quantised) return view.bits == 8 ? f(Int8Reader{}) : f(Int4Reader{});
  switch (view.raw) {
    case DType::f32:
      return f(F32Reader{});
    case DType::f16:
      return f(F16Reader{});
    case DType::bf16:
      return f(Bf16Reader{});
  }
}

// ---- Keys, kLanes of them side by side ----
constexpr int64_t kKeyStride = int64_t{kKeyBlock} * 4;  // from word to word, bytes
static_assert(kKeyBlock % kLanes == 0);

struct KeyLanes {
  const std::byte* codes;
  const std::byte* params;
};

// Keys [begin, end), absolute.
struct KeyRange {
  int64_t begin, end;
};
inline KeyRange overlap(KeyRange a, KeyRange b) {
  return {at_least(a.begin, b.begin), at_most(a.end, b.end)};
}

// Keys of one head.
struct KeyColumn {
  const KvView& view;
  std::byte* const* pages;
  int64_t head;
  std::byte* copy;  // where keys of pages smaller than a block are put together

  bool in_place() const { return view.key_block == kKeyBlock; }

  // kLanes keys from `key` (a multiple of kLanes) on. Lanes that are not in `keys` hold anything,
  // but where keys are copied, one that is.
  KeyLanes lanes(int64_t key, KeyRange keys) const {
    if (in_place()) {
      const KeyPlace place = key_place(view, pages, head, key);
      return {place.codes, place.params};
    }
    const int64_t code_words = view.code_bytes / 4, param_words = view.param_bytes / 4;
    std::byte* params = copy + code_words * kKeyStride;
    for (int64_t i = 0; i < kLanes; ++i) {
      const int64_t one = at_least(keys.begin, at_most(keys.end - 1, key + i));
      const KeyPlace place = key_place(view, pages, head, one);
      for (int64_t w = 0; w < code_words; ++w) {
        __builtin_memcpy(copy + w * kKeyStride + i * 4, place.codes + w * place.stride, 4);
      }
      for (int64_t w = 0; w < param_words; ++w) {
        __builtin_memcpy(params + w * kKeyStride + i * 4, place.params + w * place.stride, 4);
      }
    }
    return {copy, params};
  }
};

// f(d, values) for the values of kLanes keys, d = 0, 1, ...; the last word may go on past head_dim.
template <class Reader, class F>
inline __attribute__((always_inline)) void for_key_values(const KvView& view, const KeyLanes& keys,
                                                          F f) {
  for (int64_t begin = 0; begin < view.head_dim; begin += kKvGroup) {
    typename Reader::KeyParams params{};
    if constexpr (Reader::kQuantised) {
      params = Reader::key_params(load_words(keys.params + begin / kKvGroup * kKeyStride));
    }
    const int64_t end = at_most(view.head_dim, begin + kKvGroup);
    for (int64_t d = begin; d < end; d += Reader::kWide) {
      const vi words = load_words(keys.codes + d / Reader::kWide * kKeyStride);
      for_parts<Reader::kWide>([&]<int kPart>(Part<kPart>) __attribute__((always_inline)) {
        f(d + kPart, Reader::template key_value<kPart>(words, params));
      });
    }
  }
}
