// norm: two passes over the row, sums in four vectors in a fixed order.

// Sum of f(values) over a row, f applied to whole vectors; lanes past the end count as zero.
template <class F>
inline float sum_row(const float* x, int64_t dim, F f) {
  vf sums[4] = {vzero(), vzero(), vzero(), vzero()};
  for (int64_t i = 0; i < dim; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) {
      const int64_t begin = i + j * kLanes, left = dim - begin;
      if (left >= kLanes) {
        sums[j] = f(vload(x + begin), sums[j]);
      } else if (left > 0) {
        sums[j] = vselect_range(f(vload_n(x + begin, left), sums[j]), sums[j], 0, left);
      }
    }
  }
  return vsum(vadd(vadd(sums[0], sums[1]), vadd(sums[2], sums[3])));
}

void norm_row(const NormParams& p, const float* x, float* y) {
  const float dim = static_cast<float>(p.dim);
  float mean = 0.0f;
  if (p.kind == NormKind::layer) {
    mean = sum_row(x, p.dim, [](vf v, vf sum) { return vadd(sum, v); }) / dim;
  }
  const vf center = vset(mean);
  const float squares = sum_row(x, p.dim, [&](vf v, vf sum) {
    const vf d = vsub(v, center);
    return vfma(d, d, sum);
  });
  const vf factor = vset(1.0f / __builtin_sqrtf(squares / dim + p.eps));
  for (int64_t i = 0; i < p.dim; i += kLanes) {
    const int64_t left = p.dim - i;
    vf v = vmul(vsub(vload_n(x + i, left), center), factor);
    if (p.weight != nullptr) v = vmul(v, vload_n(p.weight + i, left));
    if (p.bias != nullptr) v = vadd(v, vload_n(p.bias + i, left));
    vstore_n(y + i, v, left);
  }
}

void norm(const NormParams& p, const KernelContext& context) {
  for_row_runs(context, p.m, rows_per_task(p.dim), [&](int64_t row, int) {
    norm_row(p, p.x + row * p.x_stride, p.y + row * p.y_stride);
  });
}
