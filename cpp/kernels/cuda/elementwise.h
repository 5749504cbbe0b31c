// embed, gated, rotary and gather: one thread an element (of rotary: a pair).
#pragma once

#include "kernels/cuda/numeric.h"

namespace penstock::cuda {

inline constexpr int kElementThreads = 256;

template <class Thread>
PENSTOCK_DEVICE inline int64_t element_of(const Thread& on) {
  return on.block() * on.threads() + on.thread();
}

struct EmbedKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const EmbedParams& p) const {
    const int64_t at = element_of(on);
    if (at >= p.m * p.dim) return;
    float value = raw_at(static_cast<const std::byte*>(p.rows), p.dtype, at);
    if (p.add != nullptr) value += raw_at(static_cast<const std::byte*>(p.add), p.dtype, at);
    p.out[at / p.dim * p.out_stride + at % p.dim] = value;
  }
};

struct GatedKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const GatedParams& p) const {
    const int64_t at = element_of(on);
    if (at >= p.m * p.dim) return;
    const int64_t from = at / p.dim * p.stride + at % p.dim;
    p.out[at / p.dim * p.out_stride + at % p.dim] = act_of(p.act, p.gate[from]) * p.up[from];
  }
};

struct GatherKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const GatherRowsParams& p) const {
    const int64_t at = element_of(on);
    if (at >= p.m * p.dim) return;
    const int64_t row = at / p.dim, column = at % p.dim;
    p.out[row * p.out_stride + column] = p.x[p.rows[row] * p.x_stride + column];
  }
};

struct RotaryKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const RotaryParams& p) const {
    const int64_t half = p.rotary_dim / 2, at = element_of(on);
    if (at >= p.m * p.heads * half) return;
    const int64_t i = at % half, head = at / half % p.heads, row = at / half / p.heads;
    float* x = p.x + row * p.x_stride + head * p.head_dim + i;
    const float angle = static_cast<float>(p.positions[row]) * p.inv_freq[i];
    const float c = cosf(angle) * p.scale, s = sinf(angle) * p.scale;
    const float a = x[0], b = x[half];
    x[0] = fmaf(a, c, -(b * s));
    x[half] = fmaf(b, c, a * s);
  }
};

}  // namespace penstock::cuda
