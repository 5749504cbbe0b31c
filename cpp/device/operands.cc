#include "device/operands.h"

#include <algorithm>
#include <iterator>

namespace penstock {
namespace {

struct Named {
  const char* name;
  const void* data;
  Access access = Access::read;
};

// Positions of a sequence.
struct Keys {
  int32_t begin, end;
  int32_t count() const { return end - begin; }
};

// Those from `first` to the span's last row that are in its key range.
Keys keys_of(const SpanView& span, int32_t first) {
  const int32_t begin = std::max(first, span.key_begin);
  return {begin, std::max(begin, std::min(span.position + span.count, span.key_end))};
}

// Collects the operands of one op.
class Lister {
 public:
  std::vector<Operand> take() { return std::move(found_); }

  void operator()(const EmbedParams& p) {
    const size_t bytes = size(p.m) * size(p.dim) * dtype_bytes(p.dtype);
    add({.name = "rows", .data = at(p.rows), .row_bytes = bytes});
    if (p.add) add({.name = "add", .data = at(p.add), .row_bytes = bytes});
    matrix({"out", p.out, Access::write}, p.m, p.dim, p.out_stride);
  }

  void operator()(const NormParams& p) {
    matrix({"x", p.x}, p.m, p.dim, p.x_stride);
    if (p.weight) vector({"weight", p.weight}, p.dim);
    if (p.bias) vector({"bias", p.bias}, p.dim);
    matrix({"y", p.y, Access::write}, p.m, p.dim, p.y_stride);
  }

  void operator()(const PrepareParams& p) {
    matrix({"x", p.x}, p.m, p.layout.k, p.x_stride);
    prepared({"out", p.out, Access::write}, p.m, p.layout);
  }

  void operator()(const GemmParams& p) {
    prepared({"x", p.x}, p.m, p.input);
    for (int i = 0; i < p.panel_count; ++i) {
      const WeightPanel& panel = p.panels[i];
      const int64_t begin = panel.row_begin, rows = panel.row_end - panel.row_begin;
      add({.name = "weight", .data = panel.data, .row_bytes = weight_bytes(p, rows)});
      if (p.bias) vector({"bias", p.bias + begin}, rows);
      if (p.residual) matrix({"residual", p.residual + begin}, p.m, rows, p.residual_stride);
      matrix({"y", p.y + (begin - p.column_origin), Access::write}, p.m, rows, p.y_stride);
    }
  }

  void operator()(const GatedParams& p) {
    matrix({"gate", p.gate}, p.m, p.dim, p.stride);
    matrix({"up", p.up}, p.m, p.dim, p.stride);
    matrix({"out", p.out, Access::write}, p.m, p.dim, p.out_stride);
  }

  void operator()(const RotaryParams& p) {
    matrix({"x", p.x, Access::update}, p.m, int64_t{p.heads} * p.head_dim, p.x_stride);
    vector({"inv_freq", p.inv_freq}, p.rotary_dim / 2);
  }

  void operator()(const KvAppendParams& p) {
    const int64_t width = int64_t{p.layout.kv_heads} * p.layout.head_dim;
    for (int32_t i = 0; i < p.span_count; ++i) {
      const SpanView& span = p.spans[i];
      const Keys stored = keys_of(span, span.position);
      if (stored.count() == 0) continue;
      const int64_t row = span.first_row + (stored.begin - span.position);
      matrix({"k", p.k + row * p.k_stride}, stored.count(), width, p.k_stride);
      matrix({"v", p.v + row * p.v_stride}, stored.count(), width, p.v_stride);
      pages(p.layout, span, stored, Access::update);
    }
  }

  void operator()(const AttentionParams& p) {
    const int64_t width = int64_t{p.heads} * p.layout.head_dim;
    for (int32_t i = 0; i < p.span_count; ++i) {
      const SpanView& span = p.spans[i];
      matrix({"q", p.q + span.first_row * p.q_stride}, span.count, width, p.q_stride);
      const int32_t first = p.window > 0 ? std::max(0, span.position - p.window + 1) : 0;
      pages(p.layout, span, keys_of(span, first), Access::read);
      matrix({"out", p.out + span.first_row * p.out_stride,
              span.resume ? Access::update : Access::write},
             span.count, width, p.out_stride);
      if (span.resume || span.partial) states(p, span);
    }
  }

  void operator()(const GatherRowsParams& p) {
    for (int64_t i = 0; i < p.m; ++i) vector({"x", p.x + p.rows[i] * p.x_stride}, p.dim);
    matrix({"out", p.out, Access::write}, p.m, p.dim, p.out_stride);
  }

  void operator()(const ScoreParams& p) {
    matrix({"logits", p.logits}, p.m, p.columns, p.stride);
    add({.name = "states",
         .data = at(p.states),
         .row_bytes = size(p.m) * sizeof(ScoreState),
         .access = p.column_begin == 0 ? Access::write : Access::update});
  }

  // From the first row to the last one, also those between that it leaves out.
  void operator()(const SampleParams& p) {
    if (p.m == 0) return;
    const int64_t first = p.rows[0].row, count = p.rows[p.m - 1].row - first + 1;
    matrix({"logits", p.logits + first * p.stride}, count, p.columns, p.stride);
    add({.name = "tokens",
         .data = at(p.tokens + first),
         .row_bytes = size(count) * sizeof(int32_t),
         .access = Access::update});
  }

 private:
  static size_t size(int64_t count) { return static_cast<size_t>(std::max<int64_t>(count, 0)); }
  static const std::byte* at(const void* data) { return static_cast<const std::byte*>(data); }

  static size_t weight_bytes(const GemmParams& p, int64_t rows) {
    const QuantFormat& row = format(p.format);
    if (!row.quantised()) return size(rows) * size(p.k) * dtype_bytes(row.raw);
    return size((rows + kTileRows - 1) / kTileRows) * size(packed_layout(row, p.k).tile_bytes);
  }

  void add(const Operand& operand) {
    if (operand.bytes() > 0) found_.push_back(operand);
  }

  void matrix(Named named, int64_t rows, int64_t columns, int64_t stride) {
    add({.name = named.name,
         .data = at(named.data),
         .row_bytes = size(columns) * sizeof(float),
         .rows = size(rows),
         .stride_bytes = size(stride) * sizeof(float),
         .access = named.access});
  }

  void vector(Named named, int64_t count) { matrix(named, 1, count, 0); }

  static int64_t prepared_row(const PreparedLayout& layout) {
    if (layout.kind == InputKind::int8) return layout.scales_offset + layout.blocks * 8;
    return layout.kind == InputKind::f16 ? layout.scales_offset + 4 : layout.row_bytes;
  }

  // Without the unused end of each row.
  void prepared(Named named, int64_t rows, const PreparedLayout& layout) {
    add({.name = named.name,
         .data = at(named.data),
         .row_bytes = size(prepared_row(layout)),
         .rows = size(rows),
         .stride_bytes = size(layout.stride_bytes),
         .access = named.access});
  }

  static Access access_of(const SpanView& span) {
    if (!span.resume) return Access::write;
    return span.partial ? Access::update : Access::read;
  }

  void states(const AttentionParams& p, const SpanView& span) {
    add({.name = "states",
         .data = at(p.states + int64_t{span.first_row} * p.heads),
         .row_bytes = size(span.count) * size(p.heads) * sizeof(AttentionState),
         .access = access_of(span)});
  }

  // The pages of a span that hold any of `keys`.
  void pages(const KvLayout& layout, const SpanView& span, Keys keys, Access access) {
    if (keys.count() == 0) return;
    const int32_t last = (keys.end - 1) / layout.page_tokens;
    for (int32_t page = keys.begin / layout.page_tokens; page <= last; ++page) {
      add({.name = "page",
           .data = span.pages[page],
           .row_bytes = size(layout.page_bytes()),
           .access = access});
    }
  }

  std::vector<Operand> found_;
};

double flops(const GemmParams& p) {
  double rows = 0;
  for (int i = 0; i < p.panel_count; ++i) {
    rows += static_cast<double>(p.panels[i].row_end - p.panels[i].row_begin);
  }
  return 2.0 * static_cast<double>(p.m) * static_cast<double>(p.k) * rows;
}

// Summed over the rows of the span.
double keys_attended(const AttentionParams& p, const SpanView& span) {
  double keys = 0;
  for (int32_t end = span.position + 1; end <= span.position + span.count; ++end) {
    const int32_t first = p.window > 0 ? std::max(0, end - p.window) : 0;
    keys += std::max(0, std::min(end, span.key_end) - std::max(first, span.key_begin));
  }
  return keys;
}

double flops_of_key(const AttentionParams& p) { return 4.0 * p.heads * p.layout.head_dim; }

double flops(const AttentionParams& p) {
  double keys = 0;
  for (int32_t i = 0; i < p.span_count; ++i) keys += keys_attended(p, p.spans[i]);
  return flops_of_key(p) * keys;
}

template <class Params>
double flops(const Params&) {
  return 0;
}

}  // namespace

std::vector<Operand> operands(const Op& op) {
  Lister lister;
  std::visit(lister, op);
  return lister.take();
}

double op_flops(const Op& op) {
  return std::visit([](const auto& params) { return flops(params); }, op);
}

DecodeAttention decode_attention(const Op& op) {
  const auto* p = std::get_if<AttentionParams>(&op);
  if (p == nullptr) return {};
  double keys = 0;
  for (int32_t i = 0; i < p->span_count; ++i) {
    if (p->spans[i].count == 1) keys += keys_attended(*p, p->spans[i]);
  }
  const KvLayout& kv = p->layout;
  const auto key_bytes =
      static_cast<double>(2 * kv.kv_heads * (kv.code_bytes() + kv.param_bytes()));
  return {flops_of_key(*p) * keys, key_bytes * keys};
}

const char* op_name(const Op& op) {
  static constexpr const char* kNames[] = {"embed",       "norm",   "prepare",   "gemm",
                                           "gated",       "rotary", "kv_append", "attention",
                                           "gather_rows", "score",  "sample"};
  static_assert(std::size(kNames) == std::variant_size_v<Op>);
  return kNames[op.index()];
}

}  // namespace penstock
