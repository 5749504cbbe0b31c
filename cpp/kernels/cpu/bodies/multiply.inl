// Products of a tile of columns with rows of steps: sums[i][n] += over s, ascending, column s of n
// by step s of row i. Add says what an element of a column and a step are, 4 bytes each, and adds
// their product:
//   Input input(const std::byte* step)    in every lane
//   vf add(vf sum, vf column, Input)

struct MultiplyAdd {
  using Input = vf;
  static Input input(const std::byte* step) { return vset(float_at(step)); }
  static vf add(vf sum, vf column, Input input) { return vfma(input, column, sum); }
};

// Strides in elements, but x_stride in bytes. Vector v of step s is at w + v * v_stride +
// s * w_stride.
struct Product {
  const float* w;
  int64_t w_stride = kTileWidth, v_stride = kLanes;
  const std::byte* x;
  int64_t x_stride;
  int64_t steps;
  float* sums;
  int64_t sums_stride = kTileWidth;
};

// One or two rows wait for their own sums.
inline constexpr int64_t product_work(int64_t rows, int64_t steps) {
  return at_least(rows, 3) * steps * kRowVectors;
}

// Rows first + [0, kRows) of a product.
template <int kRows, class Add>
__attribute__((noinline)) void multiply_tile(const Product& p, int64_t first, Ahead* ahead) {
  const float* w = p.w;
  float* sums = p.sums + first * p.sums_stride;
  const int64_t w_stride = p.w_stride, v_stride = p.v_stride, sums_stride = p.sums_stride;
  RowPointers<kRows> x(p.x + first * p.x_stride, p.x_stride);
  vf acc[kRows][kRowVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) acc[i][v] = vload(sums + i * sums_stride + v * kLanes);
  }
  for (int64_t s = 0; s < p.steps;) {
    const int64_t end = at_most(p.steps, s + turn_steps(kRows));
    if (ahead != nullptr) ahead->touch(product_work(kRows, end - s));
    for (; s < end; ++s, w += w_stride) {
      vf columns[kRowVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kRowVectors; ++v) columns[v] = vload(w + v * v_stride);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const typename Add::Input input = Add::input(x[i]);
#pragma GCC unroll 4
        for (int v = 0; v < kRowVectors; ++v) acc[i][v] = Add::add(acc[i][v], columns[v], input);
      }
      x.step(4);
    }
  }
  forget(sums);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kRowVectors; ++v) vstore(sums + i * sums_stride + v * kLanes, acc[i][v]);
  }
}

// Asks for what is ahead meanwhile, if it is told.
template <class Add>
inline void multiply_rows(const Product& p, int64_t rows, Ahead* ahead = nullptr) {
  for_row_groups<kMaxRows>(
      rows, [&]<int kRows>(RowCount<kRows>, int64_t i) { multiply_tile<kRows, Add>(p, i, ahead); });
}
