// What tests of products share: weights in panels, prepared inputs, and what comes out of them.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/views.h"
#include "support/kernels.h"
#include "support/reference.h"
#include "tensor/quantize.h"

namespace penstock::test {

// A weight in a format, cut into panels that lie apart; raw panels only as aligned as their
// elements.
class Weight {
 public:
  Weight(FormatId id, int64_t n, int64_t k, uint64_t seed) : Weight(format(id), n, k, seed) {
    id_ = id;
  }
  // Also formats that have no id.
  Weight(const QuantFormat& format, int64_t n, int64_t k, uint64_t seed)
      : format_(format), n_(n), k_(k) {
    Random random(seed);
    values_ = random.normals(n * k, 0.1f);
    if (format.quantised()) layout_ = packed_layout(format, k);
  }

  // Panels begin at the given rows (the first at 0).
  std::vector<WeightPanel> panels(const std::vector<int64_t>& begins) {
    std::vector<WeightPanel> panels;
    for (size_t i = 0; i < begins.size(); ++i) {
      const int64_t end = i + 1 < begins.size() ? begins[i + 1] : n_;
      panels.push_back({place(begins[i], end), begins[i], end});
    }
    return panels;
  }

  std::vector<double> row(int64_t n) const {
    std::vector<double> out(static_cast<size_t>(k_));
    for (int64_t k = 0; k < k_; ++k) out[static_cast<size_t>(k)] = element(n, k);
    return out;
  }

  // Of a quantised row's group that holds k.
  float scale(int64_t n, int64_t k) const {
    const std::byte* tile = tiles_[static_cast<size_t>(n / kTileRows)].data();
    return load_as_float(tile, DType::bf16, k / layout_.group * kTileRows + n % kTileRows);
  }

  FormatId id() const { return id_; }
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  const PackedLayout& layout() const { return layout_; }

 private:
  double element(int64_t n, int64_t k) const {
    if (format_.quantised()) {
      std::vector<std::byte>& tile = tiles_[static_cast<size_t>(n / kTileRows)];
      return unpack_value(format_, layout_, tile.data(), static_cast<int>(n % kTileRows), k);
    }
    float stored;
    store_from_float(&stored, format_.raw, 0, values_[static_cast<size_t>(n * k_ + k)]);
    return load_as_float(&stored, format_.raw, 0);
  }

  const std::byte* place(int64_t begin, int64_t end) {
    if (format_.quantised()) return place_tiles(begin, end);
    const DType dtype = format_.raw;
    const int64_t bytes = (end - begin) * k_ * dtype_bytes(dtype);
    // Ends where the allocation ends, so that a read past the weight is seen by a sanitizer.
    storage_.push_back(std::vector<std::byte>(static_cast<size_t>(bytes + dtype_bytes(dtype))));
    std::byte* at = storage_.back().data() + dtype_bytes(dtype);
    for (int64_t i = 0; i < (end - begin) * k_; ++i) {
      store_from_float(at, dtype, i, values_[static_cast<size_t>(begin * k_ + i)]);
    }
    return at;
  }

  const std::byte* place_tiles(int64_t begin, int64_t end) {
    const size_t tiles = static_cast<size_t>((n_ + kTileRows - 1) / kTileRows);
    const size_t bytes = static_cast<size_t>(layout_.tile_bytes);
    if (tiles_.empty()) {
      for (size_t t = 0; t < tiles; ++t) {
        const int64_t first = static_cast<int64_t>(t) * kTileRows;
        tiles_.emplace_back(bytes);
        pack_tile(format_,
                  {values_.data() + first * k_, std::min<int64_t>(kTileRows, n_ - first), k_}, k_,
                  tiles_.back().data());
      }
    }
    std::vector<std::byte> panel;
    for (int64_t row = begin; row < end; row += kTileRows) {
      const auto& tile = tiles_[static_cast<size_t>(row / kTileRows)];
      panel.insert(panel.end(), tile.begin(), tile.end());
    }
    storage_.push_back(std::move(panel));
    return storage_.back().data();
  }

  FormatId id_ = 0;
  QuantFormat format_;
  int64_t n_, k_;
  PackedLayout layout_;
  std::vector<float> values_;
  mutable std::vector<std::vector<std::byte>> tiles_;
  std::vector<std::vector<std::byte>> storage_;
};

struct Epilogue {
  std::vector<float> bias, residual;
  Act act = Act::none;
};

struct Inputs {
  Inputs(const KernelTable& table, const Weight& weight, bool exact, const std::vector<float>& x,
         const KernelContext& context)
      : Inputs(table,
               prepared_layout_for(format(weight.id()), weight.k(),
                                   exact ? Compute::exact : Compute::fast),
               x, context) {}
  Inputs(const KernelTable& table, const PreparedLayout& layout, const std::vector<float>& x,
         const KernelContext& context)
      : m(static_cast<int64_t>(x.size()) / layout.k),
        layout(layout),
        data(m * layout.stride_bytes) {
    table.prepare({x.data(), layout.k, m, layout, data.data()}, context);
  }
  int64_t m;
  PreparedLayout layout;
  AlignedBytes data;
};

inline GemmParams gemm_params(const Weight& weight, const Inputs& inputs,
                              const std::vector<WeightPanel>& panels, const Epilogue& epilogue) {
  GemmParams p;
  p.panels = panels.data();
  p.panel_count = static_cast<int>(panels.size());
  p.format = weight.id();
  p.exact = inputs.layout.kind == InputKind::f32;
  p.x = inputs.data.data();
  p.input = inputs.layout;
  p.m = inputs.m;
  p.k = weight.k();
  p.bias = epilogue.bias.empty() ? nullptr : epilogue.bias.data();
  p.residual = epilogue.residual.empty() ? nullptr : epilogue.residual.data();
  p.residual_stride = weight.n();
  p.act = epilogue.act;
  return p;
}

inline std::vector<float> multiply(const Kernels& on, const Weight& weight, const Inputs& inputs,
                                   const std::vector<WeightPanel>& panels,
                                   const Epilogue& epilogue) {
  const int64_t n = weight.n();
  std::vector<float> y(static_cast<size_t>(inputs.m * n), NAN);
  GemmParams p = gemm_params(weight, inputs, panels, epilogue);
  p.y = y.data();
  p.y_stride = n;
  on.table.gemm(p, on.context);
  return y;
}

struct Shape {
  int64_t m, n, k;
};

// Formats of weights with and without compute="exact".
template <class F>
void for_each_input(F f) {
  for (size_t id = 0; id < format_table().size(); ++id) {
    if (!format_table()[id].for_weights) continue;
    for (const bool exact : {false, true}) {
      SCOPED_TRACE(std::string(format_table()[id].name) + (exact ? " exact" : ""));
      f(static_cast<FormatId>(id), exact);
    }
  }
}

inline void expect_close(const Weight& weight, const Inputs& inputs, const std::vector<float>& y,
                         const Epilogue& e) {
  const int64_t n = weight.n();
  for (int64_t j = 0; j < n; ++j) {
    const std::vector<double> w = weight.row(j);
    for (int64_t i = 0; i < inputs.m; ++i) {
      const Dot dot = dot_reference(prepared_values(inputs.layout, inputs.data.data(), i), w);
      const size_t at = static_cast<size_t>(i * n + j);
      double expected = dot.value;
      if (!e.bias.empty()) expected += e.bias[static_cast<size_t>(j)];
      expected = act_reference(e.act, expected);
      if (!e.residual.empty()) expected += e.residual[at];
      ASSERT_NEAR(y[at], expected, 1.5e-6 * (dot.magnitude + 1)) << "row " << i << " column " << j;
    }
  }
}

// The input rows by weight row n as the formats say it: dot products of blocks of K are exact, and
// are added ascending. Portable multiply-adds round twice.
inline std::vector<float> exact_column(const Weight& weight, const Inputs& inputs, int64_t n,
                                       bool fused) {
  const PreparedLayout& layout = inputs.layout;
  const std::vector<double> values = weight.row(n);
  std::vector<float> sums(static_cast<size_t>(inputs.m), 0.0f);
  for (int64_t i = 0; i < inputs.m; ++i) {
    const std::byte* row = inputs.data.data() + i * layout.stride_bytes;
    float& sum = sums[static_cast<size_t>(i)];
    for (int64_t b = 0; b < layout.blocks; ++b) {
      const int64_t begin = b * layout.block, end = std::min(begin + layout.block, weight.k());
      const float scale = weight.scale(n, begin);
      double dot = 0;
      for (int64_t k = begin; k < end; ++k) {
        dot += values[static_cast<size_t>(k)] / scale * static_cast<int8_t>(row[k]);
      }
      const float factor = load_as_float(row + layout.scales_offset, DType::f32, b) * scale;
      const auto exact = static_cast<float>(dot);
      const float product = factor * exact;
      sum = fused ? std::fma(factor, exact, sum) : sum + product;
    }
  }
  return sums;
}
inline void expect_exact(const Weight& weight, const Inputs& inputs, const std::vector<float>& y,
                         bool fused) {
  for (int64_t n = 0; n < weight.n(); ++n) {
    const std::vector<float> expected = exact_column(weight, inputs, n, fused);
    for (int64_t i = 0; i < inputs.m; ++i) {
      ASSERT_EQ(y[static_cast<size_t>(i * weight.n() + n)], expected[static_cast<size_t>(i)])
          << "row " << i << " column " << n;
    }
  }
}

// The residual may be the output, and the last panel's columns may stand in front of a narrow
// output. `run` does a product.
template <class Run>
void expect_in_place_and_shifted(const Weight& weight, const Inputs& inputs,
                                 const std::vector<WeightPanel>& panels, const Epilogue& epilogue,
                                 Run run) {
  const int64_t m = inputs.m, n = weight.n();
  GemmParams p = gemm_params(weight, inputs, panels, epilogue);
  std::vector<float> expected(static_cast<size_t>(m * n), NAN);
  p.y = expected.data();
  p.y_stride = n;
  run(p);
  expect_close(weight, inputs, expected, epilogue);
  std::vector<float> y = epilogue.residual;
  p.residual = p.y = y.data();
  run(p);
  EXPECT_EQ(y, expected);
  const WeightPanel& last = panels.back();
  const int64_t count = last.row_end - last.row_begin, stride = count + 1;
  std::vector<float> narrow(static_cast<size_t>(m * stride), NAN);
  p.panels = &last;
  p.panel_count = 1;
  p.residual = epilogue.residual.data();
  p.y = narrow.data();
  p.y_stride = stride;
  p.column_origin = last.row_begin;
  run(p);
  for (int64_t i = 0; i < m; ++i) {
    expect_same_bits(narrow.data() + i * stride, expected.data() + i * n + last.row_begin, count,
                     "shifted");
    EXPECT_TRUE(std::isnan(narrow[static_cast<size_t>(i * stride + count)]));
  }
}

// An input that is no finite number spoils its own row and no other. `product` gives y of x.
template <class Product>
void expect_bad_inputs_stay(const Shape& shape, Product product) {
  constexpr int64_t kBad = 2;
  const std::vector<float> x = Random(61).normals(shape.m * shape.k), clean = product(x);
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> dirty = x;
    dirty[static_cast<size_t>(kBad * shape.k + 77)] = bad;
    const std::vector<float> y = product(dirty);
    const int64_t begin = kBad * shape.n, end = begin + shape.n;
    expect_same_bits(y.data(), clean.data(), begin, "rows before");
    expect_same_bits(y.data() + end, clean.data() + end, shape.m * shape.n - end, "rows after");
    for (int64_t j = begin; j < end; ++j) EXPECT_FALSE(std::isfinite(y[static_cast<size_t>(j)]));
  }
}

// What kernels see of a format, also of one that has no id.
inline WeightView view_of(const QuantFormat& format, const PackedLayout& layout) {
  return {.quantised = true,
          .has_zeros = format.offset == Offset::integer,
          .bits = format.bits,
          .group = layout.group,
          .zeros_offset = layout.zeros_offset,
          .codes_offset = layout.codes_offset,
          .tile_bytes = layout.tile_bytes};
}

}  // namespace penstock::test
