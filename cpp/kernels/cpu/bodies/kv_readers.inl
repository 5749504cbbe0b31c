// How keys and values of raw caches are read as fp32, by format. A word of a key holds kWide
// values; from one value of a token to the next it is kStep bytes.
//   vf key_value<j>(words)           value j of the words of kLanes keys
//   vf values(token, i, count)       values i and on of a token, zeros behind `count`

struct F32Reader {
  static constexpr int kWide = 1, kStep = 4;
  template <int>
  static vf key_value(vi words) {
    return vfrom_bits(words);
  }
  static vf values(const std::byte* token, int64_t i, int64_t count) {
    return load_up_to<LoadF32>(token + i * kStep, count);
  }
};

struct F16Reader {
  static constexpr int kWide = 2, kStep = 2;
  template <int kPart>
  static vf key_value(vi words) {
    std::byte halves[kLanes * 2];
    vstore_u16(halves, vshift_right<16 * kPart>(words));
    return vload_f16(halves);
  }
  static vf values(const std::byte* token, int64_t i, int64_t count) {
    return load_up_to<LoadF16>(token + i * kStep, count);
  }
};

// Values are halves of words, those of tokens with an odd position the upper ones.
struct Bf16Reader {
  static constexpr int kWide = 2, kStep = 4;
  template <int kPart>
  static vf key_value(vi words) {
    return kPart == 0 ? low_half(words) : high_half(words);
  }
  static vf values(const std::byte* token, int64_t i, int64_t count) {
    const int64_t half = static_cast<int64_t>(reinterpret_cast<uintptr_t>(token) & 2);
    const vi words = vbits(load_up_to<LoadF32>(token - half + i * kStep, count));
    return half == 0 ? low_half(words) : high_half(words);
  }
};

// Calls f(Reader{}) for the reader of a raw cache.
template <class F>
inline void with_reader(const KvView& view, F f) {
  switch (view.raw) {
    case DType::f32:
      return f(F32Reader{});
    case DType::f16:
      return f(F16Reader{});
    case DType::bf16:
      return f(Bf16Reader{});
  }
}
