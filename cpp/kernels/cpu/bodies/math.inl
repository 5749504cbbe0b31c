// Vector functions and small helpers shared by the bodies. All of one ISA's paths use these, full
// vectors or parts of one, so that an element's value does not depend on where in a vector it sits.

inline int32_t int_at(const std::byte* p) {
  int32_t x;
  __builtin_memcpy(&x, p, 4);
  return x;
}
inline float float_at(const std::byte* p) {
  float x;
  __builtin_memcpy(&x, p, 4);
  return x;
}
inline const std::byte* bytes_of(const float* p) {
  return static_cast<const std::byte*>(static_cast<const void*>(p));
}
inline std::byte* mutable_bytes_of(float* p) {
  return static_cast<std::byte*>(static_cast<void*>(p));
}
inline float* floats_of(std::byte* p) { return static_cast<float*>(static_cast<void*>(p)); }
inline const float* floats_of(const std::byte* p) {
  return static_cast<const float*>(static_cast<const void*>(p));
}
inline constexpr int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
inline constexpr int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
inline constexpr int64_t blocks_of(int64_t n, int64_t step) { return (n + step - 1) / step; }

// e^x to 1e-7 relative; 0 below -104, infinity above 88.8, NaN stays NaN.
inline vf vexp(vf x) {
  x = vmin(vset(90.0f), vmax(vset(-105.0f), x));
  const vf big = vset(0x1.8p23f);
  const vf n = vsub(vfma(x, vset(0x1.715476p0f), big), big);
  vf r = vfma(n, vset(-0x1.62e4p-1f), x);
  r = vfma(n, vset(-1.4286068203e-06f), r);
  vf p = vset(0x1.a18910p-13f);
  p = vfma(p, r, vset(0x1.6d98dcp-10f));
  p = vfma(p, r, vset(0x1.1110a0p-7f));
  p = vfma(p, r, vset(0x1.55547cp-5f));
  p = vfma(p, r, vset(0x1.555556p-3f));
  p = vfma(p, r, vset(0.5f));
  p = vadd(vfma(vmul(r, r), p, r), vset(1.0f));
  return vscale2(p, n);
}

struct ScalarExp {
  float operator()(float x) const { return vfirst(vexp(vset(x))); }
};

// x / (1 + e^-s): with s = x this is silu.
inline vf sigmoid_times(vf x, vf s) { return vdiv(x, vadd(vset(1.0f), vexp(vsub(vzero(), s)))); }

// x times the normal distribution function, by erfc(z) = e^(-z^2) t P(2t - 1), t = 1 / (1 + 0.4 z);
// P fitted to 2e-8.
inline vf vgelu(vf x) {
  const vf scaled = vmul(x, vset(0x1.6a09e6p-1f));
  const vf z = vmin(vset(14.0f), vmax(vsub(vzero(), scaled), scaled));
  const vf t = vdiv(vset(1.0f), vfma(z, vset(0.4f), vset(1.0f)));
  const vf u = vsub(vadd(t, t), vset(1.0f));
  vf p = vset(-0x1.87d3f0p-15f);
  p = vfma(p, u, vset(0x1.ea349ap-13f));
  p = vfma(p, u, vset(0x1.b72e62p-13f));
  p = vfma(p, u, vset(-0x1.f4201ep-10f));
  p = vfma(p, u, vset(-0x1.b9e56cp-9f));
  p = vfma(p, u, vset(0x1.739e0ep-7f));
  p = vfma(p, u, vset(0x1.189630p-4f));
  p = vfma(p, u, vset(0x1.73d8d8p-3f));
  p = vfma(p, u, vset(0x1.4995d6p-2f));
  p = vfma(p, u, vset(0x1.afbb3ep-2f));
  const vf half_erfc = vmul(vset(0.5f), vmul(vexp(vsub(vzero(), vmul(z, z))), vmul(t, p)));
  return vmul(x, vselect_negative(x, half_erfc, vsub(vset(1.0f), half_erfc)));
}

inline vf vgelu_tanh(vf x) {
  const vf cube = vmul(vmul(x, x), x);
  const vf inner = vfma(cube, vset(0.044715f), x);
  return sigmoid_times(x, vmul(inner, vset(1.5957691216f)));  // 2 sqrt(2 / pi)
}

inline vf vact(Act act, vf x) {
  switch (act) {
    case Act::none:
      return x;
    case Act::relu:
      return vmax(vzero(), x);
    case Act::gelu:
      return vgelu(x);
    case Act::gelu_tanh:
      return vgelu_tanh(x);
    case Act::silu:
      return sigmoid_times(x, x);
  }
  return x;
}

// ---- Raw elements of any alignment, as fp32. kBytes: one element; kWide: elements per lane ----
inline int64_t element_bytes(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

struct LoadF32 {
  static constexpr int64_t kBytes = 4, kWide = 1;
  static vf load(const std::byte* p) {
    return vload(static_cast<const float*>(static_cast<const void*>(p)));
  }
};
struct LoadF16 {
  static constexpr int64_t kBytes = 2, kWide = 1;
  static vf load(const std::byte* p) { return vload_f16(p); }
};
struct LoadBf16 {
  static constexpr int64_t kBytes = 2, kWide = 1;
  static vf load(const std::byte* p) { return vfrom_bits(vshift_left<16>(vload_u16(p))); }
};

// The first n elements at p, zeros behind; reads nothing past them.
template <class Load>
inline vf load_part(const std::byte* p, int64_t n) {
  alignas(64) std::byte part[kLanes * 4] = {};
  __builtin_memcpy(part, p, static_cast<size_t>(at_most(n, kLanes * Load::kWide) * Load::kBytes));
  return Load::load(part);
}
template <class Load>
inline vf load_up_to(const std::byte* p, int64_t n) {
  return n >= kLanes * Load::kWide ? Load::load(p) : load_part<Load>(p, n);
}

// Calls f(Load{}) for the loader of a dtype.
template <class F>
inline void with_loader(DType dtype, F f) {
  switch (dtype) {
    case DType::f32:
      return f(LoadF32{});
    case DType::f16:
      return f(LoadF16{});
    case DType::bf16:
      return f(LoadBf16{});
  }
}

inline float bf16_at(const std::byte* p, int64_t index) {
  uint16_t half;
  __builtin_memcpy(&half, p + index * 2, 2);
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  return __builtin_bit_cast(float, bits);
}

// bf16 of each lane in its low 16 bits: round to nearest even, NaN stays NaN.
inline vi bf16_lanes(vf x) {
  const vi bits = vbits(x);
  const vi odd = vand_i(vshift_right<16>(bits), vset_i(1));
  const vi rounded = vshift_right<16>(vadd_i(vadd_i(bits, vset_i(0x7fff)), odd));
  const vi nan = vor_i(vshift_right<16>(bits), vset_i(0x40));
  const vi magnitude = vand_i(bits, vset_i(0x7fffffff));
  return vselect_greater(magnitude, vset_i(0x7f800000), nan, rounded);
}

// Stores the first n lanes as `dtype`.
inline void store_as(std::byte* p, DType dtype, vf x, int64_t n) {
  alignas(64) std::byte part[kLanes * 4];
  if (dtype == DType::f32) {
    vstore(static_cast<float*>(static_cast<void*>(part)), x);
  } else if (dtype == DType::f16) {
    vstore_f16(part, x);
  } else {
    vstore_u16(part, bf16_lanes(x));
  }
  __builtin_memcpy(p, part, static_cast<size_t>(at_most(n, kLanes) * element_bytes(dtype)));
}

// Rows [begin, end) of task `task` when `m` rows are cut into runs of `step`.
template <class F>
inline void for_row_runs(const KernelContext& context, int64_t m, int64_t step, F f) {
  context.parallel.for_each(blocks_of(m, step), [&](int64_t task, int worker) {
    const int64_t end = at_most(m, (task + 1) * step);
    for (int64_t row = task * step; row < end; ++row) f(row, worker);
  });
}
// Rows per task so that a task moves about 64 KiB.
inline int64_t rows_per_task(int64_t dim) { return at_least(1, 16384 / at_least(1, dim)); }

// f(Part<0>{}), f(Part<1>{}), ... f(Part<kCount - 1>{})
template <int kPart>
struct Part {
  static constexpr int value = kPart;
};
template <int kCount, int kNext = 0, class F>
inline __attribute__((always_inline)) void for_parts(F f) {
  if constexpr (kNext < kCount) {
    f(Part<kNext>{});
    for_parts<kCount, kNext + 1>(f);
  }
}

struct BlockScale {
  float scale = 0.0f;    // of a code
  float inverse = 0.0f;  // codes per unit
};

// Codes go from -top to top. Blocks whose largest value is below 2^-100 count as zeros; one with a
// NaN or an infinity has the scale NaN.
inline BlockScale block_scale(vi largest, float top) {
  const int32_t bits = vlargest_i(largest);
  if (bits >= 0x7f800000) return {__builtin_nanf(""), 0.0f};
  const float magnitude = __builtin_bit_cast(float, bits);
  if (magnitude < 0x1p-100f) return {};
  return {magnitude / top, top / magnitude};
}
