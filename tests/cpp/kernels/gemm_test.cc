#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/kernels.h"
#include "support/reference.h"
#include "tensor/quantize.h"

namespace penstock {
namespace {

using test::AlignedBytes;
using test::Random;
using test::TestContext;

// A weight in a format, cut into panels that lie apart; raw panels only as aligned as their
// elements.
class Weight {
 public:
  Weight(FormatId id, int64_t n, int64_t k, uint64_t seed) : id_(id), n_(n), k_(k) {
    Random random(seed);
    values_ = random.normals(n * k, 0.1f);
    if (format(id).quantised()) layout_ = packed_layout(format(id), k);
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

 private:
  double element(int64_t n, int64_t k) const {
    if (format(id_).quantised()) {
      std::vector<std::byte>& tile = tiles_[static_cast<size_t>(n / kTileRows)];
      return unpack_value(format(id_), layout_, tile.data(), static_cast<int>(n % kTileRows), k);
    }
    float stored;
    store_from_float(&stored, format(id_).raw, 0, values_[static_cast<size_t>(n * k_ + k)]);
    return load_as_float(&stored, format(id_).raw, 0);
  }

  const std::byte* place(int64_t begin, int64_t end) {
    if (format(id_).quantised()) return place_tiles(begin, end);
    const DType dtype = format(id_).raw;
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
        pack_tile(format(id_),
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

  FormatId id_;
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
      : m(static_cast<int64_t>(x.size()) / weight.k()),
        layout(prepared_layout_for(format(weight.id()), weight.k(), exact)),
        data(m * layout.stride_bytes) {
    table.prepare({x.data(), weight.k(), m, layout, data.data()}, context);
  }
  int64_t m;
  PreparedLayout layout;
  AlignedBytes data;
};

std::vector<float> multiply(const test::Kernels& on, const Weight& weight, const Inputs& inputs,
                            const std::vector<WeightPanel>& panels, const Epilogue& epilogue) {
  const int64_t n = weight.n();
  std::vector<float> y(static_cast<size_t>(inputs.m * n), NAN);
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
  p.residual_stride = n;
  p.act = epilogue.act;
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

void expect_close(const Weight& weight, const Inputs& inputs, const std::vector<float>& y,
                  const Epilogue& e) {
  const int64_t n = weight.n();
  for (int64_t j = 0; j < n; ++j) {
    const std::vector<double> w = weight.row(j);
    for (int64_t i = 0; i < inputs.m; ++i) {
      const test::Dot dot =
          test::dot_reference(test::prepared_values(inputs.layout, inputs.data.data(), i), w);
      const size_t at = static_cast<size_t>(i * n + j);
      double expected = dot.value;
      if (!e.bias.empty()) expected += e.bias[static_cast<size_t>(j)];
      expected = test::act_reference(e.act, expected);
      if (!e.residual.empty()) expected += e.residual[at];
      ASSERT_NEAR(y[at], expected, 1.5e-6 * (dot.magnitude + 1)) << "row " << i << " column " << j;
    }
  }
}

TEST(Gemm, AgreesWithDoublePrecision) {
  const TestContext context(2);
  for (const Shape shape : {Shape{1, 16, 128},
                            {3, 40, 72},
                            {5, 7, 1},
                            {17, 33, 261},
                            {2, 150, 1030},
                            {70, 50, 600},
                            {13, 129, 96},
                            {4, 31, 2100}}) {
    SCOPED_TRACE(testing::Message() << shape.m << "x" << shape.n << "x" << shape.k);
    Random random(7 + static_cast<uint64_t>(shape.k));
    const std::vector<float> x = random.normals(shape.m * shape.k);
    Epilogue epilogue{random.normals(shape.n), random.normals(shape.m * shape.n), Act::silu};
    for_each_input([&](FormatId id, bool exact) {
      Weight weight(id, shape.n, shape.k, 11);
      const auto panels = weight.panels({0});
      test::for_each_isa([&](const KernelTable& table) {
        const Inputs inputs(table, weight, exact, x, context);
        expect_close(weight, inputs, multiply({table, context}, weight, inputs, panels, epilogue),
                     epilogue);
      });
    });
  }
}

TEST(Gemm, EveryActivation) {
  const TestContext context(1);
  Random random(3);
  Weight weight(weight_format("fp32"), 37, 64, 5);
  const auto panels = weight.panels({0});
  const std::vector<float> x = random.normals(6 * 64, 4.0f);
  for (const Act act : {Act::none, Act::relu, Act::gelu, Act::gelu_tanh, Act::silu}) {
    SCOPED_TRACE(static_cast<int>(act));
    const Epilogue epilogue{random.normals(37), {}, act};
    test::for_each_isa([&](const KernelTable& table) {
      const Inputs inputs(table, weight, false, x, context);
      expect_close(weight, inputs, multiply({table, context}, weight, inputs, panels, epilogue),
                   epilogue);
    });
  }
}

// The rows of a large GEMM equal, bit for bit, the same rows alone, among others, in other panels,
// on other threads.
void expect_rows_independent(const KernelTable& table, FormatId id, bool exact, Shape shape) {
  const TestContext one(1), two(2);
  Random random(23);
  Weight weight(id, shape.n, shape.k, 29);
  const std::vector<float> x = random.normals(shape.m * shape.k);
  const Epilogue epilogue{random.normals(shape.n), {}, Act::gelu};
  const auto whole = weight.panels({0});
  const auto split = weight.panels({0, 16, 64, 80});
  const Inputs all(table, weight, exact, x, two);
  const std::vector<float> expected = multiply({table, two}, weight, all, whole, epilogue);
  EXPECT_EQ(multiply({table, one}, weight, all, whole, epilogue), expected) << "threads";
  EXPECT_EQ(multiply({table, two}, weight, all, split, epilogue), expected) << "panels";
  if (!format(id).quantised()) {
    const auto ragged = weight.panels({0, 1, 6, 47});
    EXPECT_EQ(multiply({table, two}, weight, all, ragged, epilogue), expected) << "ragged panels";
  }
  for (int64_t m = 1; m < shape.m; m += m < 14 ? 1 : 17) {  // every row grouping, at moving places
    const int64_t first = (m * 5) % (shape.m - m);
    const std::vector<float> part(x.begin() + first * shape.k, x.begin() + (first + m) * shape.k);
    const Inputs some(table, weight, exact, part, one);
    const std::vector<float> y = multiply({table, one}, weight, some, whole, epilogue);
    test::expect_same_bits(y.data(), expected.data() + first * shape.n, m * shape.n, "rows");
  }
}

TEST(Gemm, RowsDoNotSeeOtherRows) {
  for_each_input([&](FormatId id, bool exact) {
    test::for_each_isa([&](const KernelTable& table) {
      expect_rows_independent(table, id, exact, {70, 90, 1100});
    });
  });
}

TEST(Gemm, EveryRowAloneEqualsItselfInTheBatch) {
  const TestContext context(1);
  for (const std::string_view name : {"fp32", "bf16", "int8", "int4-g32"}) {
    SCOPED_TRACE(std::string(name));
    const Shape shape{70, 24, 520};
    Weight weight(weight_format(name), shape.n, shape.k, 31);
    const auto panels = weight.panels({0});
    const std::vector<float> x = Random(37).normals(shape.m * shape.k);
    test::for_each_isa([&](const KernelTable& table) {
      const Inputs all(table, weight, false, x, context);
      const std::vector<float> expected = multiply({table, context}, weight, all, panels, {});
      for (int64_t i = 0; i < shape.m; ++i) {
        const std::vector<float> row(x.begin() + i * shape.k, x.begin() + (i + 1) * shape.k);
        const Inputs alone(table, weight, false, row, context);
        const std::vector<float> y = multiply({table, context}, weight, alone, panels, {});
        test::expect_same_bits(y.data(), expected.data() + i * shape.n, shape.n, "row");
      }
    });
  }
}

TEST(Gemm, ManyInputRowsAreCutIntoRuns) {
  const TestContext context(2);
  const Shape shape{1100, 20, 40};
  for (const std::string_view name : {"fp16", "bf16", "int8-g32"}) {
    SCOPED_TRACE(std::string(name));
    Weight weight(weight_format(name), shape.n, shape.k, 41);
    const auto panels = weight.panels({0});
    const std::vector<float> x = Random(43).normals(shape.m * shape.k);
    test::for_each_isa([&](const KernelTable& table) {
      const Inputs inputs(table, weight, false, x, context);
      expect_close(weight, inputs, multiply({table, context}, weight, inputs, panels, {}), {});
    });
  }
}

TEST(Gemm, ResidualMayBeTheOutputAndColumnsMayBeShifted) {
  const TestContext context(2);
  Random random(47);
  Weight weight(weight_format("bf16"), 48, 300, 53);
  const auto panels = weight.panels({0, 16});
  const std::vector<float> x = random.normals(9 * 300);
  const Epilogue epilogue{{}, random.normals(9 * 48), Act::none};
  test::for_each_isa([&](const KernelTable& table) {
    const Inputs inputs(table, weight, false, x, context);
    const std::vector<float> expected =
        multiply({table, context}, weight, inputs, panels, epilogue);
    std::vector<float> y = epilogue.residual;
    GemmParams p;
    p.panels = panels.data();
    p.panel_count = 2;
    p.format = weight.id();
    p.x = inputs.data.data();
    p.input = inputs.layout;
    p.m = 9;
    p.k = 300;
    p.residual = y.data();
    p.residual_stride = 48;
    p.y = y.data();
    p.y_stride = 48;
    table.gemm(p, context);
    EXPECT_EQ(y, expected);
    // Only the second panel, its columns moved to the front of a narrow output.
    std::vector<float> narrow(9 * 32, NAN);
    p.panels = panels.data() + 1;
    p.panel_count = 1;
    p.residual = epilogue.residual.data();
    p.y = narrow.data();
    p.y_stride = 32;
    p.column_origin = 16;
    table.gemm(p, context);
    for (int64_t i = 0; i < 9; ++i) {
      test::expect_same_bits(narrow.data() + i * 32, expected.data() + i * 48 + 16, 32, "shifted");
    }
  });
}

// Row i by weight row n as the formats say it: dot products of blocks of K are exact, and are added
// ascending. Portable multiply-adds round twice.
float exact_blocks(const Weight& weight, const Inputs& inputs, int64_t i, int64_t n, bool fused) {
  const PreparedLayout& layout = inputs.layout;
  const std::byte* row = inputs.data.data() + i * layout.stride_bytes;
  const std::vector<double> values = weight.row(n);
  float sum = 0;
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
  return sum;
}

TEST(Gemm, QuantisedProductsHaveTheSameBitsEverywhere) {
  const TestContext context(1);
  const int64_t m = 11, n = 40, k = 200;
  const std::vector<float> x = Random(6).normals(m * k);
  for (const std::string_view name : {"int8", "int8-g64", "int4-g32", "int4-g64"}) {
    SCOPED_TRACE(std::string(name));
    Weight weight(weight_format(name), n, k, 5);
    const auto panels = weight.panels({0});
    test::for_each_isa([&](const KernelTable& table) {
      const Inputs inputs(table, weight, false, x, context);
      const std::vector<float> y = multiply({table, context}, weight, inputs, panels, {});
      for (int64_t at = 0; at < m * n; ++at) {
        ASSERT_EQ(y[static_cast<size_t>(at)],
                  exact_blocks(weight, inputs, at / n, at % n, table.isa != "portable"));
      }
    });
  }
}

TEST(Gemm, ANanStaysInItsRow) {
  const TestContext context(1);
  for_each_input([&](FormatId id, bool exact) {
    Weight weight(id, 40, 200, 59);
    const auto panels = weight.panels({0});
    std::vector<float> x = Random(61).normals(5 * 200);
    test::for_each_isa([&](const KernelTable& table) {
      const Inputs clean(table, weight, exact, x, context);
      const std::vector<float> expected = multiply({table, context}, weight, clean, panels, {});
      for (const float bad : {NAN, INFINITY, -INFINITY}) {
        std::vector<float> dirty = x;
        dirty[2 * 200 + 77] = bad;
        const Inputs inputs(table, weight, exact, dirty, context);
        const std::vector<float> y = multiply({table, context}, weight, inputs, panels, {});
        test::expect_same_bits(y.data(), expected.data(), 2 * 40, "rows before");
        test::expect_same_bits(y.data() + 3 * 40, expected.data() + 3 * 40, 2 * 40, "rows after");
        for (int64_t j = 80; j < 120; ++j) EXPECT_FALSE(std::isfinite(y[static_cast<size_t>(j)]));
      }
    });
  });
}

}  // namespace
}  // namespace penstock
