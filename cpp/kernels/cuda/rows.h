// norm, prepare and score: a block a row, or a warp a block of a row.
#pragma once

#include "kernels/cuda/numeric.h"

namespace penstock::cuda {

inline constexpr int kRowThreads = 256;
inline constexpr size_t kRowShared = kRowThreads / kWarp * sizeof(float);

struct NormKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const NormParams& p) const {
    const float* x = p.x + on.block() * p.x_stride;
    float* y = p.y + on.block() * p.y_stride;
    const auto count = static_cast<float>(p.dim);
    const float mean = p.kind == NormKind::layer ? sum(on, p, x, 0.0f, false) / count : 0.0f;
    const float variance = sum(on, p, x, mean, true) / count;
    const float scale = 1.0f / sqrtf(variance + p.eps);
    for (int64_t i = on.thread(); i < p.dim; i += on.threads()) {
      const float weight = p.weight == nullptr ? 1.0f : p.weight[i];
      const float bias = p.bias == nullptr ? 0.0f : p.bias[i];
      y[i] = fmaf((x[i] - mean) * scale, weight, bias);
    }
  }

 private:
  template <class Thread>
  PENSTOCK_DEVICE static float sum(const Thread& on, const NormParams& p, const float* x,
                                   float mean, bool squares) {
    float sum = 0;
    for (int64_t i = on.thread(); i < p.dim; i += on.threads()) {
      const float d = x[i] - mean;
      sum = squares ? fmaf(d, d, sum) : sum + d;
    }
    return over_block(on, static_cast<float*>(static_cast<void*>(on.shared())), sum, Add{});
  }
};

// fp32 and bf16 inputs: one thread an element, padding included.
struct PrepareRawKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const PrepareParams& p) const {
    const int64_t at = on.block() * on.threads() + on.thread(), width = p.layout.padded_k;
    if (at >= p.m * width) return;
    const int64_t row = at / width, k = at % width;
    const float value = k < p.layout.k ? p.x[row * p.x_stride + k] : 0.0f;
    std::byte* out = p.out + row * p.layout.stride_bytes;
    if (p.layout.kind == InputKind::f32) return store(out + k * 4, value);
    store(out + k * 2, bf16_from_float(value));
  }
};

// fp16 inputs: a block a row, divided by a power of two (f16_exponent). NaN and infinity stay what
// they are.
struct PrepareHalfKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const PrepareParams& p) const {
    const PreparedLayout& layout = p.layout;
    const float* x = p.x + on.block() * p.x_stride;
    std::byte* out = p.out + on.block() * layout.stride_bytes;
    int32_t largest = 0;
    for (int64_t k = on.thread(); k < layout.k; k += on.threads()) {
      largest = at_least(largest, magnitude_bits(x[k]));
    }
    auto* room = static_cast<int32_t*>(static_cast<void*>(on.shared()));
    const int exponent = f16_exponent(over_block(on, room, largest, Largest{}));
    const float inverse = power_of_two(-exponent);
    for (int64_t k = on.thread() * 2; k < layout.padded_k; k += on.threads() * 2) {
      const float low = k < layout.k ? x[k] * inverse : 0.0f;
      const float high = k + 1 < layout.k ? x[k + 1] * inverse : 0.0f;
      store(out + k * 2, f16_pair(low, high));
    }
    if (on.thread() == 0) store(out + layout.scales_offset, power_of_two(exponent));
  }
};

// int8 inputs: a warp a block of K; the same codes, scales and sums as the CPU's. The warp of the
// last block also fills the row's codes with zeros.
struct PrepareCodesKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const PrepareParams& p) const {
    const PreparedLayout& layout = p.layout;
    const int64_t task = on.block() * (on.threads() / kWarp) + on.thread() / kWarp;
    if (task >= p.m * layout.blocks) return;
    const int64_t row = task / layout.blocks, block = task % layout.blocks;
    const float* x = p.x + row * p.x_stride;
    std::byte* out = p.out + row * layout.stride_bytes;
    const int lane = on.thread() % kWarp;
    const int64_t each = layout.block / kWarp, begin = block * layout.block + lane * each;
    int32_t largest = 0;
    float values[4] = {};
    for (int64_t i = 0; i < each; ++i) {
      values[i] = begin + i < layout.k ? x[begin + i] : 0.0f;
      largest = at_least(largest, magnitude_bits(values[i]));
    }
    largest = on.over_warp(largest, Largest{});
    const float magnitude = std::bit_cast<float>(largest);
    const bool finite = largest < 0x7f800000, any = finite && magnitude >= 0x1p-100f;
    const float inverse = any ? 127.0f / magnitude : 0.0f;
    int32_t sum = 0;
    for (int64_t i = 0; i < each; ++i) {
      const float steps = clamp_code(values[i] * inverse, -127.0f, 127.0f);
      const auto code = static_cast<int32_t>(round_even(steps));
      sum += code;
      out[begin + i] = static_cast<std::byte>(code);
    }
    sum = on.over_warp(sum, Add{});
    if (lane == 0) {
      std::byte* scales = out + layout.scales_offset;
      store(scales + block * 4, !finite ? __builtin_nanf("") : (any ? magnitude / 127.0f : 0.0f));
      store(scales + (layout.blocks + block) * 4, sum);
    }
    if (block != layout.blocks - 1) return;
    for (int64_t k = layout.blocks * layout.block + lane; k < layout.row_bytes; k += kWarp) {
      out[k] = std::byte{0};
    }
  }
};

// One thread a column of a block of kScoreBlock columns.
struct ScoreKernel {
  static constexpr int kThreads = kScoreBlock;

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const ScoreParams& p) const {
    auto* room = static_cast<float*>(static_cast<void*>(on.shared()));
    const int64_t row = on.block();
    const float* logits = p.logits + row * p.stride;
    ScoreState state = p.column_begin == 0 ? ScoreState{} : p.states[row];
    for (int64_t at = 0; at < p.columns; at += kScoreBlock) {
      const int64_t column = at + on.thread();
      const bool there = column < p.columns;
      add_block(on, room, {there, there ? logits[column] : -INFINITY, p.column_begin + at}, state);
    }
    if (on.thread() != 0) return;
    const int64_t target = p.targets == nullptr ? -1 : p.targets[row] - p.column_begin;
    if (target >= 0 && target < p.columns) state.target = logits[target];
    p.states[row] = state;
  }

 private:
  struct Column {
    bool there;
    float logit;
    int64_t first;  // of the block
  };

  // Every thread goes through the same state.
  template <class Thread>
  PENSTOCK_DEVICE static void add_block(const Thread& on, float* room, const Column& column,
                                        ScoreState& state) {
    const float logit = column.logit;
    const float max = over_block(on, room, logit != logit ? -INFINITY : logit, Largest{});
    const bool none = max == -INFINITY;  // then a NaN is remembered
    const float bad = logit != logit ? logit : 0.0f;
    const float e = !column.there ? 0.0f : (none ? bad : exp_of(logit - max));
    const float sum = over_block(on, room, e, Add{});
    if (none) {
      state.sum += sum;
      return;
    }
    const bool found = max > state.best_logit;  // the same in every thread
    if (found) {
      const float place = logit == max ? static_cast<float>(on.thread()) : float{kScoreBlock};
      const float lowest = over_block(on, room, place, Smallest{});
      state.best = static_cast<int32_t>(column.first + static_cast<int64_t>(lowest));
      state.best_logit = max;
    }
    const float larger = at_least(state.max, max);
    state.sum = state.sum * exp_of(state.max - larger) + sum * exp_of(max - larger);
    state.max = larger;
  }
};

}  // namespace penstock::cuda
