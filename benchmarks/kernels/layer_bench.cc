// What a decoding sweep of a model of Llama-3.2-1B's shape does besides products and attention, as
// a share of it with the products: norms, rounding of inputs, rotary, SwiGLU, storing of keys and
// values, and the choice of a token.
#include <algorithm>
#include <functional>
#include <memory>
#include <string>

#include "engine/row_sampler.h"
#include "kernels/bench.h"
#include "kernels/cpu/table.h"
#include "tensor/kv_layout.h"

namespace penstock::bench {
namespace {

constexpr int64_t kHidden = 2048, kInner = 8192, kVocabulary = 128256;
constexpr int kLayers = 16, kHeads = 32, kKvHeads = 8, kHeadDim = 64;
constexpr int kRounds = 9;

// A product of rows by a weight of random codes; copies of the weight rotate.
class Product {
 public:
  Product(const KernelTable& table, FormatId id, int64_t m, int64_t n, int64_t k)
      : table_(table),
        id_(id),
        m_(m),
        n_(n),
        k_(k),
        layout_(prepared_layout_for(format(id), k, Compute::fast)) {
    bytes_ = format(id).quantised() ? n / kTileRows * packed_layout(format(id), k).tile_bytes
                                    : n * k * dtype_bytes(format(id).raw);
    copies_ = std::max<int64_t>(1, kRotatedBytes / bytes_);
    weights_ = std::make_unique<Bytes>(copies_ * bytes_);
    x_ = std::make_unique<Bytes>(m * k * 4);
    y_ = std::make_unique<Bytes>(m * n * 4);
    inputs_ = std::make_unique<Bytes>(m * layout_.stride_bytes);
    // Small numbers in any format: both bytes of a bf16 or fp16 value, scales, codes.
    for (int64_t i = 0; i < copies_ * bytes_; ++i) {
      weights_->data()[i] = static_cast<std::byte>(0x20 + i * 7919 % 29);
    }
    for (int64_t i = 0; i < m * k; ++i) x_->floats()[i] = noise(static_cast<uint64_t>(i));
  }

  void prepare(const KernelContext& context) {
    table_.prepare({x_->floats(), k_, m_, layout_, inputs_->data()}, context);
  }
  void multiply(const KernelContext& context) {
    const WeightPanel panel{weights_->data() + next_++ % copies_ * bytes_, 0, n_};
    GemmParams p;
    p.panels = &panel;
    p.panel_count = 1;
    p.format = id_;
    p.x = inputs_->data();
    p.input = layout_;
    p.m = m_;
    p.k = k_;
    p.y = y_->floats();
    p.y_stride = n_;
    table_.gemm(p, context);
  }
  float* out() { return y_->floats(); }
  float* in() { return x_->floats(); }

 private:
  const KernelTable& table_;
  FormatId id_;
  int64_t m_, n_, k_, bytes_ = 0, copies_ = 0, next_ = 0;
  PreparedLayout layout_;
  std::unique_ptr<Bytes> weights_, x_, y_, inputs_;
};

// Median seconds of a call.
double seconds_of(const std::function<void()>& work) {
  work();
  std::vector<double> seconds;
  for (int i = 0; i < kRounds; ++i) {
    const double begin = now();
    work();
    seconds.push_back(now() - begin);
  }
  return median(seconds);
}

struct Layer {
  Layer(const KernelTable& table, FormatId id, int64_t m)
      : table(table),
        m(m),
        query(table, id, m, kHidden, kHidden),
        key(table, id, m, kKvHeads * kHeadDim, kHidden),
        up(table, id, m, kInner, kHidden),
        down(table, id, m, kHidden, kInner),
        head(table, id, m, kVocabulary, kHidden),
        pages(m * layout.page_bytes()) {
    for (int64_t i = 0; i < kHidden; ++i) ones.push_back(1.0f);
    for (int64_t i = 0; i < m; ++i) {
      positions.push_back(static_cast<int32_t>(100 + i));
      page_of.push_back(pages.data() + i * layout.page_bytes());
    }
    for (int64_t i = 0; i < m; ++i) spans.push_back({static_cast<int32_t>(i), 5, 1, &page_of[i]});
    for (int i = 0; i < kHeadDim / 2; ++i) frequencies.push_back(1.0f / static_cast<float>(1 + i));
  }

  void normalise(const KernelContext& context) {
    table.norm({NormKind::rms, query.in(), kHidden, ones.data(), nullptr, 1e-5f, m, kHidden,
                up.in(), kHidden},
               context);
  }
  void rotate(const KernelContext& context) {
    const auto turn = [&](float* x, int heads) {
      table.rotary({x, int64_t{heads} * kHeadDim, m, heads, kHeadDim, kHeadDim, positions.data(),
                    frequencies.data(), 1.0f},
                   context);
    };
    turn(query.out(), kHeads);
    turn(key.out(), kKvHeads);
  }
  void store(const KernelContext& context) {
    const int64_t width = int64_t{kKvHeads} * kHeadDim;
    table.kv_append(
        {layout, spans.data(), static_cast<int32_t>(m), key.out(), width, key.out(), width},
        context);
  }
  void gate(const KernelContext& context) {
    table.gated({up.out(), up.out(), kInner, Act::silu, m, kInner, down.in(), kInner}, context);
  }

  const KernelTable& table;
  int64_t m;
  KvLayout layout{kv_format("bf16"), kKvHeads, kHeadDim, 32};
  Product query, key, up, down, head;
  Bytes pages;
  std::vector<float> ones, frequencies;
  std::vector<int32_t> positions;
  std::vector<std::byte*> page_of;
  std::vector<SpanView> spans;
};

// Seconds of the choices of m rows.
double choice_seconds(const Sampling& sampling, int64_t m, int threads) {
  std::vector<float> logits;
  for (int64_t i = 0; i < m * kVocabulary; ++i) {
    logits.push_back(20.0f * noise(static_cast<uint64_t>(i)));
  }
  RowSampler sampler(kVocabulary, threads);
  std::vector<RowLogits> rows(static_cast<size_t>(m));
  for (int64_t i = 0; i < m; ++i) {
    RowLogits& row = rows[static_cast<size_t>(i)];
    row.logits = logits.data() + i * kVocabulary;
    row.input.sampling = &sampling;
  }
  return seconds_of([&] { sampler.choose(rows); });
}

}  // namespace

void run_layer(const Arguments& arguments, const KernelContext& context) {
  const std::string isa = arguments.text("isa", supported_isas().front());
  const std::string name = arguments.text("format", "int4-g64");
  const int64_t m = arguments.number("m", 32);
  Layer layer(kernel_table(isa), weight_format(name), m);
  const auto part = [&](const std::function<void()>& work) { return kLayers * seconds_of(work); };
  Sampling greedy, drawn;
  greedy.temperature = 0;
  drawn.temperature = 0.8;
  drawn.top_k = 50;
  drawn.top_p = 0.95;
  const auto rows = static_cast<double>(m);
  const double norms = part([&] { layer.normalise(context); }) * (2.0 + 1.0 / kLayers);
  const double prepares = part([&] { layer.up.prepare(context); }) * (3.0 + 1.0 / kLayers) +
                          part([&] { layer.down.prepare(context); });
  const double rotary = part([&] { layer.rotate(context); });
  const double stores = part([&] { layer.store(context); });
  const double gates = part([&] { layer.gate(context); });
  const int threads = context.parallel.workers;
  const double choice = choice_seconds(greedy, m, threads);
  const double draw = choice_seconds(drawn, m, threads);
  const double products = part([&] { layer.query.multiply(context); }) * 2 +
                          part([&] { layer.key.multiply(context); }) * 2 +
                          part([&] { layer.up.multiply(context); }) * 2 +
                          part([&] { layer.down.multiply(context); });
  const double head = seconds_of([&] { layer.head.multiply(context); });
  const double rest = norms + prepares + rotary + stores + gates;
  Line()
      .text("isa", isa)
      .text("format", name)
      .number("threads", context.parallel.workers)
      .number("m", rows)
      .number("norm_seconds", norms)
      .number("prepare_seconds", prepares)
      .number("rotary_seconds", rotary)
      .number("kv_append_seconds", stores)
      .number("gated_seconds", gates)
      .number("greedy_seconds", choice)
      .number("top_k_top_p_seconds", draw)
      .number("product_seconds", products)
      .number("head_product_seconds", head)
      .number("rest_share", (rest + choice) / (rest + choice + products + head))
      .number("rest_share_drawn", (rest + draw) / (rest + draw + products + head))
      .print();
}

}  // namespace penstock::bench
