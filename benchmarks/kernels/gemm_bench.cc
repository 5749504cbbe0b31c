// Products: weights rotate through more memory than the caches hold.
#include <algorithm>
#include <cstring>

#include "kernels/bench.h"
#include "kernels/cpu/table.h"
#include "tensor/quantize.h"

namespace penstock::bench {
namespace {

struct Shape {
  int64_t m, n, k;
  double operations() const { return 2.0 * static_cast<double>(m * n) * static_cast<double>(k); }
};

int64_t weight_bytes(FormatId id, const Shape& shape) {
  if (!format(id).quantised()) return shape.n * shape.k * dtype_bytes(format(id).raw);
  return (shape.n + kTileRows - 1) / kTileRows * packed_layout(format(id), shape.k).tile_bytes;
}

// One product with as many weights as fill kRotatedBytes.
class Problem {
 public:
  Problem(const KernelTable& table, FormatId id, const Shape& shape)
      : table_(table),
        id_(id),
        shape_(shape),
        weight_bytes_(weight_bytes(id, shape)),
        copies_(std::max<int64_t>(1, kRotatedBytes / weight_bytes_)),
        weights_(copies_ * weight_bytes_),
        layout_(prepared_layout_for(format(id), shape.k, Compute::fast)),
        inputs_(shape.m * layout_.stride_bytes),
        y_(shape.m * shape.n * 4) {
    fill_weights();
    for (int64_t i = 0; i < shape.m * shape.k; ++i) x_.push_back(noise(static_cast<uint64_t>(i)));
  }

  int64_t bytes() const { return weight_bytes_; }

  void prepare(const KernelContext& context) const {
    table_.prepare({x_.data(), shape_.k, shape_.m, layout_, inputs_.data()}, context);
  }

  void run(const KernelContext& context) {
    const WeightPanel panel{weights_.data() + next_++ % copies_ * weight_bytes_, 0, shape_.n};
    GemmParams p;
    p.panels = &panel;
    p.panel_count = 1;
    p.format = id_;
    p.x = inputs_.data();
    p.input = layout_;
    p.m = shape_.m;
    p.k = shape_.k;
    p.y = y_.floats();
    p.y_stride = shape_.n;
    table_.gemm(p, context);
  }

 private:
  void fill_weights() {
    std::vector<float> rows(static_cast<size_t>(kTileRows * shape_.k));
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = noise(i);
    int64_t first = static_cast<int64_t>(rows.size());  // bytes of kTileRows rows
    if (format(id_).quantised()) {
      first = packed_layout(format(id_), shape_.k).tile_bytes;
      pack_tile(format(id_), {rows.data(), kTileRows, shape_.k}, shape_.k, weights_.data());
    } else {
      first *= dtype_bytes(format(id_).raw);
      for (size_t i = 0; i < rows.size(); ++i) {
        store_from_float(weights_.data(), format(id_).raw, static_cast<int64_t>(i), rows[i]);
      }
    }
    const int64_t all = copies_ * weight_bytes_;
    for (int64_t at = first; at < all; at += first) {
      std::memcpy(weights_.data() + at, weights_.data(),
                  static_cast<size_t>(std::min(first, all - at)));
    }
  }

  const KernelTable& table_;
  FormatId id_;
  Shape shape_;
  int64_t weight_bytes_, copies_, next_ = 0;
  Bytes weights_;
  PreparedLayout layout_;
  Bytes inputs_, y_;
  std::vector<float> x_;
};

// The instruction the fastest kernel of a format uses.
Peak peak_of(std::string_view isa, std::string_view format) {
  const bool tiles = isa == "avx512amx";
  if (isa == "avx2") {
    if (format.starts_with("int4")) return Peak::avx2_bytes;
    return format.starts_with("int8") ? Peak::avx2_words : Peak::avx2_fma;
  }
  if (format.starts_with("int")) return tiles ? Peak::int8_tile : Peak::int8_dot;
  if (format == "bf16" && tiles) return Peak::bf16_tile;
  return format == "bf16" && isa == "avx512bf16" ? Peak::bf16_dot : Peak::fma;
}

}  // namespace

void run_gemm(const Arguments& arguments, const KernelContext& context) {
  const std::string isa = arguments.text("isa", supported_isas().front());
  const std::string name = arguments.text("format", "int4-g64");
  const Shape shape{arguments.number("m", 64), arguments.number("n", 4096),
                    arguments.number("k", 4096)};
  Problem problem(kernel_table(isa), weight_format(name), shape);
  problem.prepare(context);
  const int calls = static_cast<int>(std::clamp(4e9 / shape.operations(), 1.0, 20.0));
  const Peak peak = peak_of(isa, name);
  const Timing timing = time_beside(peak, context, calls, [&] { problem.run(context); });
  const double begin = now();
  problem.prepare(context);
  const double prepared = now() - begin;
  const double rate = shape.operations() / timing.seconds;
  const double bytes = static_cast<double>(problem.bytes()) / timing.seconds;
  Line()
      .text("isa", isa)
      .text("format", name)
      .number("threads", context.parallel.workers)
      .number("m", static_cast<double>(shape.m))
      .number("n", static_cast<double>(shape.n))
      .number("k", static_cast<double>(shape.k))
      .number("seconds", timing.seconds)
      .number("prepare_seconds", prepared)
      .number("operations_per_second", rate)
      .text("peak", peak_name(peak))
      .number("peak_operations_per_second", timing.peak)
      .number("of_peak", timing.peak > 0 ? rate / timing.peak : 0)
      .number("weight_bytes_per_second", bytes)
      .number("read_bytes_per_second", timing.read)
      .number("of_read", bytes / timing.read)
      .print();
}

}  // namespace penstock::bench
