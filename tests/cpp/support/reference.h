// Scalar references in double precision, one per kernel, written from the contracts in
// kernels/params.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/params.h"
#include "tensor/kv_layout.h"

namespace penstock::test {

inline double act_reference(Act act, double x) {
  switch (act) {
    case Act::none:
      return x;
    case Act::relu:
      return x > 0 ? x : 0;
    case Act::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Act::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Act::silu:
      return x / (1 + std::exp(-x));
  }
  return x;
}

// Row `row` of prepared inputs as the numbers they stand for.
inline std::vector<double> prepared_values(const PreparedLayout& layout, const std::byte* data,
                                           int64_t row) {
  const std::byte* at = data + row * layout.stride_bytes;
  std::vector<double> values(static_cast<size_t>(layout.k));
  for (int64_t k = 0; k < layout.k; ++k) {
    double& value = values[static_cast<size_t>(k)];
    if (layout.kind == InputKind::int8) {
      const double code = static_cast<int8_t>(at[k]);
      value = code * load_as_float(at + layout.scales_offset, DType::f32, k / layout.block);
    } else if (layout.kind == InputKind::f16) {
      value = load_as_float(at, DType::f16, k);
      value *= load_as_float(at + layout.scales_offset, DType::f32, 0);
    } else {
      value = load_as_float(at, layout.kind == InputKind::f32 ? DType::f32 : DType::bf16, k);
    }
  }
  return values;
}

struct Dot {
  double value = 0;
  double magnitude = 0;  // sum of |x| |w|
};
inline Dot dot_reference(const std::vector<double>& x, const std::vector<double>& w) {
  Dot dot;
  for (size_t k = 0; k < x.size(); ++k) {
    dot.value += x[k] * w[k];
    dot.magnitude += std::abs(x[k] * w[k]);
  }
  return dot;
}

inline std::vector<double> norm_reference(const NormParams& p, int64_t row) {
  const float* x = p.x + row * p.x_stride;
  double mean = 0, squares = 0;
  if (p.kind == NormKind::layer) {
    for (int64_t i = 0; i < p.dim; ++i) mean += x[i] / static_cast<double>(p.dim);
  }
  for (int64_t i = 0; i < p.dim; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double factor = 1 / std::sqrt(squares / static_cast<double>(p.dim) + p.eps);
  std::vector<double> y(static_cast<size_t>(p.dim));
  for (int64_t i = 0; i < p.dim; ++i) {
    y[static_cast<size_t>(i)] =
        (x[i] - mean) * factor * (p.weight ? p.weight[i] : 1.0) + (p.bias ? p.bias[i] : 0.0);
  }
  return y;
}

// Output of one query row and head, over keys and values as stored.
inline std::vector<double> attention_reference(const AttentionParams& p, const SpanView& span,
                                               int32_t row, int head) {
  const int dim = p.layout.head_dim, position = span.position + row;
  const int kv_head = head / (p.heads / p.layout.kv_heads);
  const int first = p.window > 0 ? std::max(0, position - p.window + 1) : 0;
  const float* q = p.q + (span.first_row + row) * p.q_stride + int64_t{head} * dim;
  std::vector<float> values(static_cast<size_t>(dim));
  std::vector<double> scores, out(static_cast<size_t>(dim));
  double max = -INFINITY, sum = 0;
  const auto load = [&](bool value, int key) {
    kv_load_scalar(p.layout, span.pages[key / p.layout.page_tokens],
                   {value, kv_head, key % p.layout.page_tokens}, values.data());
  };
  for (int key = first; key <= position; ++key) {
    load(false, key);
    double score = 0;
    for (int d = 0; d < dim; ++d) score += double{q[d]} * values[static_cast<size_t>(d)];
    scores.push_back(score * p.scale);
    max = std::max(max, scores.back());
  }
  for (int key = first; key <= position; ++key) {
    load(true, key);
    const double weight = std::exp(scores[static_cast<size_t>(key - first)] - max);
    sum += weight;
    for (size_t d = 0; d < out.size(); ++d) out[d] += weight * values[d];
  }
  for (double& value : out) value /= sum;
  return out;
}

}  // namespace penstock::test
