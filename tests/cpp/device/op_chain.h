// One run through all ten ops on odd shapes, as plain bytes: the same block put into any device's
// memory gives the ops to run there. Used to compare devices bit for bit.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "base/checked.h"
#include "device/op.h"
#include "tensor/quantize.h"

namespace penstock {

struct ChainFormats {
  std::string_view weight = "bf16";
  std::string_view kv = "bf16";
  int32_t window = 0;
};
inline constexpr ChainFormats kChainFormats[] = {{"fp32", "fp32", 0},
                                                 {"bf16", "bf16", 0},
                                                 {"fp16", "fp16", 2},
                                                 {"int8", "int8", 0},
                                                 {"int4-g64", "int4", 3}};

class OpChain {
 public:
  static constexpr int64_t kRows = 7, kDim = 96, kOut = 64, kColumns = 300;
  static constexpr int kHeads = 4, kKvHeads = 2, kHeadDim = 24;

  OpChain(uint64_t seed, const ChainFormats& formats) : random_(seed), formats_(formats) {
    layout_ = {kv_format(formats.kv), kKvHeads, kHeadDim, 32};
    embedding_ = take_bf16(kRows * kDim);
    norm_weight_ = take_floats(kDim);
    bias_ = take_floats(kOut);
    inv_freq_ = take_floats(kHeadDim / 2);
    hidden_ = take_floats(kRows * kDim);
    kv_ = take_floats(kRows * 2 * kKvHeads * kHeadDim);
    attended_ = take_floats(kRows * kDim);
    projected_ = take_floats(2 * kRows * kOut);
    gathered_ = take_floats(kRows * kDim);
    logits_ = take_floats(kRows * kColumns);
    states_ = take(kRows * sizeof(ScoreState));
    for (int64_t i = 0; i < kRows; ++i) put(states_ + i * sizeof(ScoreState), ScoreState{});
    tokens_ = take(kRows * sizeof(int32_t));
    input_ = prepared_layout_for(format(weight_format(formats.weight)), kDim, Compute::fast);
    prepared_ = take(kRows * input_.stride_bytes);
    for (size_t& panel : panels_) panel = take_weight();
    for (size_t& page : pages_) page = take_page();
  }

  const std::vector<std::byte>& content() const { return content_; }
  // Where the chain writes nothing before reading: cleared of content, its results must show it.
  size_t embedding() const { return embedding_; }
  size_t embedding_bytes() const { return kRows * kDim * 2; }
  size_t attended() const { return attended_; }

  // The ops for a block at `base`; valid while this object lives and until the next call.
  std::vector<Op> ops(std::byte* base) {
    base_ = base;
    describe();
    std::vector<Op> list;
    list.push_back(
        EmbedParams{base + embedding_, nullptr, DType::bf16, kRows, kDim, at(hidden_), kDim});
    list.push_back(NormParams{NormKind::rms, at(hidden_), kDim, at(norm_weight_), nullptr, 1e-5f,
                              kRows, kDim, at(hidden_), kDim});
    list.push_back(RotaryParams{at(hidden_), kDim, kRows, kHeads, kHeadDim, kHeadDim,
                                positions_.data(), at(inv_freq_), 1.25f});
    add_attention(&list);
    list.push_back(PrepareParams{at(attended_), kDim, kRows, input_, base + prepared_});
    list.push_back(gemm());
    list.push_back(GatedParams{at(projected_), at(projected_) + kOut, 2 * kOut, Act::silu, kRows,
                               kOut / 2, at(projected_), 2 * kOut});
    list.push_back(
        GatherRowsParams{at(attended_), kDim, rows_.data(), 3, kDim, at(gathered_), kDim});
    list.push_back(ScoreParams{at(logits_), kColumns, kRows, 256, kColumns, targets_.data(),
                               reinterpret_cast<ScoreState*>(base + states_)});
    list.push_back(SampleParams{at(logits_), kColumns, kColumns, samples_.data(),
                                static_cast<int64_t>(samples_.size()),
                                reinterpret_cast<int32_t*>(base + tokens_)});
    return list;
  }

 private:
  float* at(size_t offset) { return reinterpret_cast<float*>(base_ + offset); }

  template <class T>
  void put(size_t offset, const T& value) {
    std::memcpy(content_.data() + offset, &value, sizeof value);
  }

  float next() { return std::uniform_real_distribution<float>(-1, 1)(random_); }

  size_t take(size_t bytes) {
    const size_t offset = content_.size();
    content_.resize(offset + static_cast<size_t>(round_up(static_cast<int64_t>(bytes), 64)));
    return offset;
  }

  size_t take_floats(int64_t count) {
    const size_t offset = take(count * sizeof(float));
    for (int64_t i = 0; i < count; ++i) put(offset + i * sizeof(float), next());
    return offset;
  }

  size_t take_bf16(int64_t count) {
    const size_t offset = take(count * 2);
    for (int64_t i = 0; i < count; ++i) put(offset + i * 2, bf16_from_float(next()));
    return offset;
  }

  // Half of the weight: two panels far apart.
  size_t take_weight() {
    const QuantFormat& row = format(weight_format(formats_.weight));
    std::vector<float> values(kOut / 2 * kDim);
    for (float& value : values) value = next();
    if (!row.quantised()) {
      const size_t element = dtype_bytes(row.raw), offset = take(values.size() * element);
      for (size_t i = 0; i < values.size(); ++i) {
        store_from_float(content_.data() + offset, row.raw, static_cast<int64_t>(i), values[i]);
      }
      return offset;
    }
    const size_t tile_bytes = packed_layout(row, kDim).tile_bytes;
    const size_t offset = take(kOut / 2 / kTileRows * tile_bytes);
    for (int64_t tile = 0; tile < kOut / 2 / kTileRows; ++tile) {
      pack_tile(row, {values.data() + tile * kTileRows * kDim, kTileRows, kDim}, kDim,
                content_.data() + offset + tile * tile_bytes);
    }
    return offset;
  }

  size_t take_page() {
    const size_t offset = take(layout_.page_bytes());
    std::array<float, kHeadDim> values;
    for (int slot = 0; slot < 2 * kKvHeads * layout_.page_tokens; ++slot) {
      for (float& value : values) value = next();
      kv_store_scalar(layout_, content_.data() + offset,
                      {slot % 2 != 0, slot / 2 % kKvHeads, slot / 2 / kKvHeads}, values.data());
    }
    return offset;
  }

  // Two sequences: one of 3 tokens across a page border, one of 4 from the start.
  void describe() {
    for (size_t i = 0; i < pages_.size(); ++i) page_table_[i] = base_ + pages_[i];
    spans_ = {SpanView{0, 30, 3, page_table_.data()}, SpanView{3, 0, 4, page_table_.data() + 2}};
    const int64_t half = kOut / 2;
    panel_table_ = {WeightPanel{base_ + panels_[0], 0, half},
                    WeightPanel{base_ + panels_[1], half, kOut}};
  }

  void add_attention(std::vector<Op>* list) {
    const int64_t width = kKvHeads * kHeadDim;
    KvAppendParams append;
    append.layout = layout_;
    append.spans = spans_.data();
    append.span_count = 2;
    append.k = at(kv_);
    append.v = at(kv_) + width;
    append.k_stride = append.v_stride = 2 * width;
    list->push_back(append);
    AttentionParams attention;
    attention.layout = layout_;
    attention.spans = spans_.data();
    attention.span_count = 2;
    attention.q = at(hidden_);
    attention.out = at(attended_);
    attention.q_stride = attention.out_stride = kDim;
    attention.heads = kHeads;
    attention.scale = 0.2f;
    attention.window = formats_.window;
    list->push_back(attention);
  }

  GemmParams gemm() {
    GemmParams params;
    params.panels = panel_table_.data();
    params.panel_count = 2;
    params.format = weight_format(formats_.weight);
    params.x = base_ + prepared_;
    params.input = input_;
    params.m = kRows;
    params.k = kDim;
    params.bias = at(bias_);
    params.act = Act::relu;
    params.residual = at(projected_) + kOut;
    params.residual_stride = 2 * kOut;
    params.y = at(projected_);
    params.y_stride = 2 * kOut;
    return params;
  }

  std::mt19937_64 random_;
  ChainFormats formats_;
  KvLayout layout_;
  PreparedLayout input_;
  std::vector<std::byte> content_;
  std::byte* base_ = nullptr;
  size_t embedding_, norm_weight_, bias_, inv_freq_, hidden_, kv_, attended_, projected_, gathered_,
      logits_;
  size_t states_, tokens_, prepared_;
  std::array<size_t, 2> panels_;
  std::array<size_t, 3> pages_;

  std::array<std::byte*, 3> page_table_;
  std::array<SpanView, 2> spans_;
  std::array<WeightPanel, 2> panel_table_;
  const std::array<int32_t, kRows> positions_{30, 31, 32, 0, 1, 2, 3},
      targets_{256, 300, 400, 555, 257, 12, 511};
  const std::array<int32_t, 3> rows_{6, 0, 2};
  const std::array<SampleRow, 3> samples_{
      SampleRow{.row = 1}, SampleRow{.row = 2, .scale = 1.0, .uniform = 0.6},
      SampleRow{.row = 5, .scale = 0.5, .top_p = 0.8, .uniform = 0.3, .top_k = 40}};
};

}  // namespace penstock
