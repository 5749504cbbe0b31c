// Products on an accelerator: weights rotate through more memory than its caches hold.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/gpu_bench.h"
#include "tensor/quantize.h"

namespace penstock::bench {
namespace {

struct Shape {
  int64_t n, k;
};

int64_t weight_bytes(FormatId id, const Shape& shape) {
  if (!format(id).quantised()) return shape.n * shape.k * dtype_bytes(format(id).raw);
  return (shape.n + kTileRows - 1) / kTileRows * packed_layout(format(id), shape.k).tile_bytes;
}

// Random rows of a weight, then the same again, to `all` bytes.
void fill_weight(FormatId id, int64_t k, std::byte* to, int64_t all) {
  std::vector<float> rows(static_cast<size_t>(kTileRows * k));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = 0.1f * noise(i);
  int64_t first = static_cast<int64_t>(rows.size());
  if (format(id).quantised()) {
    first = packed_layout(format(id), k).tile_bytes;
    pack_tile(format(id), {rows.data(), kTileRows, k}, k, to);
  } else {
    first *= dtype_bytes(format(id).raw);
    for (size_t i = 0; i < rows.size(); ++i) {
      store_from_float(to, format(id).raw, static_cast<int64_t>(i), rows[i]);
    }
  }
  for (int64_t at = first; at < all; at += first) {
    std::memcpy(to + at, to, static_cast<size_t>(std::min(first, all - at)));
  }
}

class Problem {
 public:
  struct Product {
    FormatId id;
    Compute compute;
    bool invariant;
  };
  Problem(GpuBench& bench, Product product, const Shape& shape, int64_t rotated, int64_t most_rows)
      : id_(product.id),
        invariant_(product.invariant),
        shape_(shape),
        bytes_(weight_bytes(id_, shape)),
        // Two at least: one is read while the caches hold the other.
        copies_(std::max<int64_t>(2, rotated / bytes_)),
        layout_(
            prepared_layout_for(format(id_), shape.k, product.compute, bench.info().raw_inputs)),
        weights_(bench.on_device(copies_ * bytes_)),
        x_(bench.on_device(most_rows * shape.k * 4)),
        inputs_(bench.on_device(most_rows * layout_.stride_bytes)),
        y_(bench.on_device(most_rows * shape.n * 4)) {
    Buffer one = bench.on_host(bytes_);
    fill_weight(id_, shape.k, one.data(), bytes_);
    for (int64_t i = 0; i < copies_; ++i) {
      bench.upload(weights_.data() + i * bytes_, one.data(), bytes_);
      panels_.push_back({weights_.data() + i * bytes_, 0, shape.n});
    }
    bench.upload_floats(x_.data(), most_rows * shape.k, 1.0f);
  }

  int64_t bytes() const { return bytes_; }
  int64_t copies() const { return copies_; }

  Op prepare(int64_t m) const {
    return PrepareParams{floats(x_), shape_.k, m, layout_, inputs_.data()};
  }
  Op multiply(int64_t m, int i) const {
    GemmParams p;
    p.panels = &panels_[static_cast<size_t>(i) % panels_.size()];
    p.panel_count = 1;
    p.format = id_;
    p.invariant = invariant_;
    p.x = inputs_.data();
    p.input = layout_;
    p.m = m;
    p.k = shape_.k;
    p.y = floats(y_);
    p.y_stride = shape_.n;
    return p;
  }

 private:
  static float* floats(const Buffer& buffer) {
    return static_cast<float*>(static_cast<void*>(buffer.data()));
  }

  FormatId id_;
  bool invariant_;
  Shape shape_;
  int64_t bytes_, copies_;
  PreparedLayout layout_;
  Buffer weights_, x_, inputs_, y_;
  std::vector<WeightPanel> panels_;
};

}  // namespace

void run_gpu_gemm(const Arguments& arguments, GpuBench& bench) {
  const FormatId id = weight_format(arguments.text("format", "int4-g64"));
  const Compute compute = parse_compute(arguments.text("compute", "fast"));
  const bool invariant = arguments.number("invariant", 1) != 0;
  const Shape shape{arguments.number("n", 8192), arguments.number("k", 8192)};
  const std::vector<int64_t> rows = numbers(arguments.text("rows", "1,16,128,1024"));
  if (compute == Compute::weight_only && !bench.info().weight_only) {
    throw Error(ErrorCode::unsupported, "this device has no weight-only products");
  }
  const Problem problem(bench, {id, compute, invariant}, shape,
                        arguments.number("rotated", kRotatedBytes),
                        *std::max_element(rows.begin(), rows.end()));
  for (const int64_t m : rows) {
    const OpSeconds prepare = bench.seconds_of([&](int) { return problem.prepare(m); });
    const OpSeconds multiply = bench.seconds_of([&](int i) { return problem.multiply(m, i); });
    const double operations = 2.0 * static_cast<double>(m * shape.n) * static_cast<double>(shape.k);
    bench.line()
        .text("format", product_name(format(id), compute, invariant))
        .number("m", static_cast<double>(m))
        .number("n", static_cast<double>(shape.n))
        .number("k", static_cast<double>(shape.k))
        .number("weight_bytes", static_cast<double>(problem.bytes()))
        .number("weights", static_cast<double>(problem.copies()))
        .number("prepare_seconds", prepare.through_device)
        .number("prepare_stream_seconds", prepare.on_stream)
        .number("seconds", multiply.through_device)
        .number("stream_seconds", multiply.on_stream)
        .number("operations", operations)
        .print();
  }
}

}  // namespace penstock::bench
