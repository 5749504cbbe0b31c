// Attention: decoding rows of several sequences over long caches (more than the processor's caches
// hold), or a prompt over itself.
#include <algorithm>
#include <cstring>

#include "kernels/bench.h"
#include "kernels/cache_shape.h"
#include "kernels/cpu/table.h"

namespace penstock::bench {
namespace {

struct Shape : CacheShape {
  int64_t rows;  // new tokens of a sequence; all the keys of a prompt

  int64_t first_position() const { return keys - rows; }
  // Products of one sequence: every row with every key it sees, twice.
  double operations() const {
    const double seen = static_cast<double>(rows) * (static_cast<double>(first_position()) +
                                                     0.5 * static_cast<double>(rows + 1));
    return 4.0 * static_cast<double>(query_width()) * seen;
  }
};

class Problem {
 public:
  Problem(const KernelTable& table, const Shape& shape, int sequences, const KernelContext& context)
      : table_(table),
        shape_(shape),
        sequences_(sequences),
        pages_(sequences * shape.sequence_bytes()),
        rows_(std::max(shape.keys, int64_t{sequences} * shape.rows) *
              std::max(shape.query_width(), shape.key_width()) * 4),
        out_(int64_t{sequences} * shape.rows * shape.query_width() * 4) {
    const int64_t values = shape.keys * shape.key_width();
    for (int64_t i = 0; i < values; ++i) rows_.floats()[i] = noise(static_cast<uint64_t>(i));
    for (int64_t i = 0; i < sequences * shape.pages(); ++i) {
      table_of_pages_.push_back(pages_.data() + i * shape.layout.page_bytes());
    }
    append(context);
    for (int i = 0; i < sequences; ++i) add_span(i);
    const int64_t queries = int64_t{sequences} * shape.rows * shape.query_width();
    for (int64_t i = 0; i < queries; ++i) {
      rows_.floats()[i] = 4.0f * noise(static_cast<uint64_t>(i) + 7);
    }
  }

  void run(const KernelContext& context) {
    AttentionParams p;
    p.layout = shape_.layout;
    p.spans = spans_.data();
    p.span_count = sequences_;
    p.q = rows_.floats();
    p.q_stride = p.out_stride = shape_.query_width();
    p.heads = shape_.heads;
    p.scale = 0.125f;
    p.out = out_.floats();
    table_.attention(p, context);
  }

 private:
  // Fills the first sequence's pages; the others' are copies.
  void append(const KernelContext& context) {
    const SpanView whole{0, 0, static_cast<int32_t>(shape_.keys), table_of_pages_.data()};
    const float* values = rows_.floats();
    const int64_t width = shape_.key_width();
    table_.kv_append({shape_.layout, &whole, 1, values, width, values, width}, context);
    for (int i = 1; i < sequences_; ++i) {
      std::memcpy(pages_.data() + i * shape_.sequence_bytes(), pages_.data(),
                  static_cast<size_t>(shape_.sequence_bytes()));
    }
  }

  void add_span(int sequence) {
    spans_.push_back({static_cast<int32_t>(sequence * shape_.rows),
                      static_cast<int32_t>(shape_.first_position()),
                      static_cast<int32_t>(shape_.rows),
                      table_of_pages_.data() + sequence * shape_.pages()});
  }

  const KernelTable& table_;
  Shape shape_;
  int sequences_;
  Bytes pages_, rows_, out_;
  std::vector<std::byte*> table_of_pages_;
  std::vector<SpanView> spans_;
};

}  // namespace

void run_attention(const Arguments& arguments, const KernelContext& context) {
  const std::string isa = arguments.text("isa", supported_isas().front());
  const std::string name = arguments.text("format", "bf16");
  const int kv_heads = static_cast<int>(arguments.number("kv_heads", 8));
  const Shape shape{
      {arguments.number("keys", 4096),
       static_cast<int>(arguments.number("heads", 32)),
       {kv_format(name), kv_heads, static_cast<int>(arguments.number("head_dim", 128)),
        static_cast<int>(arguments.number("page_tokens", 32))}},
      arguments.number("rows", 1)};
  const bool decode = shape.rows == 1;
  const auto sequences = decode ? std::clamp<int64_t>(kRotatedBytes / shape.sequence_bytes(), 1,
                                                      arguments.number("sequences", 256))
                                : 1;
  Problem problem(kernel_table(isa), shape, static_cast<int>(sequences), context);
  const Peak peak = isa.starts_with("avx512") ? Peak::fma : Peak::avx2_fma;
  const Timing timing = time_beside(peak, context, static_cast<int>(arguments.number("calls", 1)),
                                    [&] { problem.run(context); });
  const Peak bf16 = isa == "avx512amx" ? Peak::bf16_tile : Peak::bf16_dot;
  const double bytes = static_cast<double>(sequences * shape.sequence_bytes()) / timing.seconds;
  const double rate = static_cast<double>(sequences) * shape.operations() / timing.seconds;
  const double dot = has_peak(Peak::bf16_dot) ? measure_peak(Peak::bf16_dot, context.parallel) : 0;
  const double tile = has_peak(bf16) ? measure_peak(bf16, context.parallel) : 0;
  Line()
      .text("isa", isa)
      .text("format", name)
      .number("threads", context.parallel.workers)
      .number("sequences", static_cast<double>(sequences))
      .number("rows", static_cast<double>(shape.rows))
      .number("keys", static_cast<double>(shape.keys))
      .number("heads", shape.heads)
      .number("kv_heads", kv_heads)
      .number("head_dim", shape.layout.head_dim)
      .number("seconds", timing.seconds)
      .number("operations_per_second", rate)
      .number("of_fma_peak", timing.peak > 0 ? rate / timing.peak : 0)
      .number("of_bf16_dot_peak", dot > 0 ? rate / dot : 0)
      .number("of_bf16_peak", tile > 0 ? rate / tile : 0)
      .number("kv_bytes_per_second", bytes)
      .number("read_bytes_per_second", timing.read)
      .number("of_read", bytes / timing.read)
      .number("keys_per_second",
              static_cast<double>(sequences * shape.rows * shape.keys) / timing.seconds)
      .print();
}

}  // namespace penstock::bench
