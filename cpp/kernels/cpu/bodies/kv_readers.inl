// How keys and values are read as fp32, by format.
//   kWide                                   values in a word of a key
//   vf key_value<j>(words, params)          value j of the words of kLanes keys; params of the
//   group vf values(KvAt token, i, count)         values i and on of a token, zeros behind `count`
// Of raw caches kStep: bytes from one value of a token to the next; params are not looked at.

struct F32Reader {
  static constexpr int kWide = 1, kStep = 4;
  template <int>
  static vf key_value(vi words, vi) {
    return vfrom_bits(words);
  }
  static vf values(const KvAt& token, int64_t i, int64_t count) {
    return load_up_to<LoadF32>(token.codes + i * kStep, count);
  }
};

struct F16Reader {
  static constexpr int kWide = 2, kStep = 2;
  template <int kPart>
  static vf key_value(vi words, vi) {
    std::byte halves[kLanes * 2];
    vstore_u16(halves, vshift_right<16 * kPart>(words));
    return vload_f16(halves);
  }
  static vf values(const KvAt& token, int64_t i, int64_t count) {
    return load_up_to<LoadF16>(token.codes + i * kStep, count);
  }
};

// Which part of its words a token has.
inline int64_t part_of(const std::byte* codes) {
  return static_cast<int64_t>(reinterpret_cast<uintptr_t>(codes) & 3);
}

// Values are halves of words, those of tokens with an odd position the upper ones.
struct Bf16Reader {
  static constexpr int kWide = 2, kStep = 4;
  template <int kPart>
  static vf key_value(vi words, vi) {
    return kPart == 0 ? low_half(words) : high_half(words);
  }
  static vf values(const KvAt& token, int64_t i, int64_t count) {
    const int64_t half = part_of(token.codes);
    const vi words = vbits(load_up_to<LoadF32>(token.codes - half + i * kStep, count));
    return half == 0 ? low_half(words) : high_half(words);
  }
};

// Byte `part` of each of `count` words, from word `first` on.
inline vi load_bytes(const std::byte* codes, int64_t first, int64_t count) {
  const int64_t part = part_of(codes);
  const vi words = vbits(load_up_to<LoadF32>(codes - part + first * 4, count));
  const vi low = part % 2 == 0 ? words : vshift_right<8>(words);
  return vand_i(part < 2 ? low : vshift_right<16>(low), vset_i(255));
}
inline vi value_params(const KvAt& token, int64_t i) {
  return vset_i(int_at(token.params + i / kKvGroup * kKeyStride));
}

struct Int8Reader {
  static constexpr int kWide = 4;
  template <int kPart>
  static vf key_value(vi words, vi params) {
    return value(vand_i(vshift_right<8 * kPart>(words), vset_i(255)), params);
  }
  static vf values(const KvAt& token, int64_t i, int64_t count) {
    return value(load_bytes(token.codes, i, count), value_params(token, i));
  }

 private:
  static vf value(vi codes, vi params) {
    return vmul(low_half(params), vto_float(vsub_i(codes, vset_i(128))));
  }
};

struct Int4Reader {
  static constexpr int kWide = 8;
  template <int kPart>
  static vf key_value(vi words, vi params) {
    return value(vshift_right<4 * kPart>(words), params);
  }
  static vf values(const KvAt& token, int64_t i, int64_t count) {
    const vi codes = load_bytes(token.codes, i / 2, at_most(kLanes / 2, blocks_of(count, 2)));
    vf even = value(codes, value_params(token, i));
    vf odd = value(vshift_right<4>(codes), value_params(token, i));
    vzip(even, odd);
    return even;
  }

 private:
  static vf value(vi codes, vi params) {
    return vfma(low_half(params), vto_float(vand_i(codes, vset_i(15))), high_half(params));
  }
};

// Calls f(Reader{}) for the reader of a raw cache.
template <class F>
inline void with_raw_reader(const KvView& view, F f) {
  switch (view.raw) {
    case DType::f32:
      return f(F32Reader{});
    case DType::f16:
      return f(F16Reader{});
    case DType::bf16:
      return f(Bf16Reader{});
  }
}
template <class F>
inline void with_reader(const KvView& view, F f) {
  if (!view.quantised) return with_raw_reader(view, f);
  return view.bits == 8 ? f(Int8Reader{}) : f(Int4Reader{});
}
