// One params struct per kernel. Plain values and non-owning pointers; sizes are in elements unless
// a name says bytes. All activations are fp32, row-major, `*_stride` elements between rows. Kernels
// do not allocate and do not throw. Contract for every kernel: row m of the result depends only on
// row m of the inputs (and its KV pages), bit for bit, whatever the other rows, their number, the
// panel split or the number of workers. So sums over K run in an order fixed by absolute k,
// attention by absolute key position. Products whose GemmParams::invariant is false may go another
// way from some number of rows on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention_state.h"
#include "tensor/dtype.h"
#include "tensor/format.h"
#include "tensor/kv_layout.h"
#include "tensor/units.h"

namespace penstock {

enum class NormKind : uint8_t { layer, rms };
enum class Act : uint8_t { none, relu, gelu, gelu_tanh, silu };

// Converts `rows` raw rows of width `dim` to fp32 and adds a second set of rows if given (learned
// positions). out[i] = rows[i] + (add ? add[i] : 0).  rows/add: packed [m, dim] of `dtype`.
struct EmbedParams {
  const void* rows = nullptr;
  const void* add = nullptr;
  DType dtype = DType::f32;
  int64_t m = 0, dim = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
};

// layer: y = (x - mean) / sqrt(var + eps) * weight + bias; rms: y = x / sqrt(mean(x^2) + eps) *
// weight. In place is allowed. rows may be token rows or (token, head) pairs: any equally spaced
// vectors.
struct NormParams {
  NormKind kind = NormKind::rms;
  const float* x = nullptr;
  int64_t x_stride = 0;
  const float* weight = nullptr;  // [dim]; may be null (ones)
  const float* bias = nullptr;    // [dim]; may be null
  float eps = 1e-5f;
  int64_t m = 0, dim = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
};

// How GEMM inputs are prepared for a weight format.
enum class InputKind : uint8_t {
  f32,   // exact: fp32 weights, fp16 weights, and any weight with compute="exact"
  bf16,  // bf16 weights: activations rounded to bf16, pairs of k together; on GPUs also quantised
         // weights, 16-byte aligned
  f16,   // fp16 and bf16 weights, CUDA kernels only: fp16 values times a power of two per row,
         // 16-byte aligned
  int8,  // quantised weights (on GPUs 16-byte aligned): symmetric int8 per row and block of K, with
         // block sums
};

// A prepared input lives in one buffer; prepared_layout() gives its parts. Rows are independent.
struct PreparedLayout {
  InputKind kind = InputKind::f32;
  int64_t k = 0, padded_k = 0;    // padded with zeros to a multiple of kTileK
  int64_t block = 0, blocks = 0;  // int8: values per scale, number of scales per row
  int64_t row_bytes = 0;          // codes of one row (multiple of 64)
  // From row start. int8: fp32 [blocks] scales, then int32 [blocks] sums of codes; f16: one fp32.
  int64_t scales_offset = 0;
  int64_t stride_bytes = 0;  // whole row, multiple of 64
};
PreparedLayout prepared_layout(InputKind kind, int64_t k, int64_t block);
// What a device multiplies raw weights of 16 bits with.
struct RawInputs {
  InputKind f16 = InputKind::f32, bf16 = InputKind::bf16;  // by fp16 weights, by bf16 ones
};
// The input a weight of this format wants. Compute::weight_only: of CUDA kernels only. With other
// RawInputs rows are never longer.
PreparedLayout prepared_layout_for(const QuantFormat& format, int64_t k, Compute compute,
                                   const RawInputs& raw = {});

struct PrepareParams {
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t m = 0;
  PreparedLayout layout;
  std::byte* out = nullptr;  // m * layout.stride_bytes, 64-byte aligned
};

// A run of weight rows in memory. Raw: row-major [rows, k] of the published dtype, any alignment
// that is a multiple of the element size. Quantised: whole tiles (tensor/format.h), first row of
// the panel is the first row of a tile.
struct WeightPanel {
  const std::byte* data = nullptr;
  int64_t row_begin = 0, row_end = 0;  // rows of the whole weight that this panel holds
};

// y[m, n] = act(sum_k x[m, k] * w[n, k] + bias[n]) (+ residual[m, n]), for n in the panels.
struct GemmParams {
  const WeightPanel* panels = nullptr;
  int panel_count = 0;
  FormatId format = 0;
  bool exact = false;            // quantised weights against fp32 inputs
  bool invariant = true;         // bits do not follow from m either
  const std::byte* x = nullptr;  // prepared rows
  PreparedLayout input;
  int64_t m = 0, k = 0;
  const float* bias = nullptr;  // indexed by weight row; may be null
  Act act = Act::none;
  const float* residual = nullptr;  // [m, N], indexed by weight row; may be null, may be y itself
  int64_t residual_stride = 0;
  float* y = nullptr;  // column of weight row n is n - column_origin
  int64_t y_stride = 0;
  int64_t column_origin = 0;
};

// out[m, i] = act(gate[m, i]) * up[m, i]; out may be gate.
struct GatedParams {
  const float* gate = nullptr;
  const float* up = nullptr;
  int64_t stride = 0;
  Act act = Act::silu;
  int64_t m = 0, dim = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
};

// Rotary embedding, "half" layout (element i pairs with i + rotary_dim/2), in place on [m, heads,
// head_dim]. angle = float(position) * inv_freq[i] in fp32; both cos and sin are multiplied by
// `scale` (YaRN and longrope attention factor).
struct RotaryParams {
  float* x = nullptr;
  int64_t x_stride = 0;
  int64_t m = 0;
  int heads = 0, head_dim = 0, rotary_dim = 0;
  const int32_t* positions = nullptr;  // [m]
  const float* inv_freq = nullptr;     // [rotary_dim / 2]
  float scale = 1.0f;
};

// One sequence's part of a micro-batch. pages[i] holds tokens [i*P, (i+1)*P) of this layer.
//
// The sequence's keys may be kept in several places, each of which has a view of its own: one that
// covers the keys [key_begin, key_end) only. Its pages without such a key are not looked at and may
// be null. Bounds are absolute positions: of pages for appending, multiples of kAttentionSegment
// for attention; 0 and anything beyond the last row are the ends of the sequence.
struct SpanView {
  int32_t first_row = 0;  // first row of the micro-batch
  int32_t position = 0;   // absolute position of that row
  int32_t count = 0;      // rows
  std::byte* const* pages = nullptr;
  int32_t key_begin = 0, key_end = INT32_MAX;
  bool resume = false;   // attention goes on from the output and the states that are there
  bool partial = false;  // attention leaves an unnormalised output and its states
};

// Stores new keys and values in the pages in the KV format (quantise on write): of each span the
// rows whose positions are in its key range.
struct KvAppendParams {
  KvLayout layout;
  const SpanView* spans = nullptr;
  int32_t span_count = 0;
  const float* k = nullptr;
  int64_t k_stride = 0;
  const float* v = nullptr;
  int64_t v_stride = 0;
};

// out[row, head] = softmax(scale * q . K) V over keys max(0, t - window + 1) .. t of the row's own
// sequence, t its position. Keys and values are read as stored. With bf16 ones, queries and softmax
// weights may be rounded to bf16 (where the ISA has dot products of bf16); with fp16 ones, on GPUs,
// to 22 bits and to 2^-39 of their largest, and so with quantised ones; those, on processors, round
// them to 2 * 16319 + 1 steps of their largest: a query by group of kKvGroup, weights times the
// values' scales by segment. Per row and head: one state (max, sum, output) per absolute segment
// of 256 keys, folded left to right by fold_state (attention_state.h).
//
// A span with a key range folds the segments in that range. Calls over ascending ranges, all but
// the last one partial and all but the first one resumed, give the bits of one call over all keys:
// what they hand on is the fold itself, out and states[row * heads + head], of any memory. A row
// without keys in the range hands on what it got (nothing: a state as constructed, zeros). A row of
// the last call must have had a key in one of them.
struct AttentionParams {
  KvLayout layout;
  const SpanView* spans = nullptr;
  int32_t span_count = 0;
  const float* q = nullptr;
  int64_t q_stride = 0;
  int heads = 0;  // query heads; heads % kv_heads == 0
  float scale = 1.0f;
  int32_t window = 0;  // 0: none
  bool exact = false;  // queries and weights are fp32
  float* out = nullptr;
  int64_t out_stride = 0;
  AttentionState* states = nullptr;  // [rows of the micro-batch, heads]; of spans in parts only
};

// out[i] = x[rows[i]]
struct GatherRowsParams {
  const float* x = nullptr;
  int64_t x_stride = 0;
  const int32_t* rows = nullptr;
  int64_t m = 0, dim = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
};

// Running log-sum-exp over the vocabulary, one block of kScoreBlock columns after the other in
// ascending order, so that the result does not depend on how the vocabulary was cut (columns begin
// at a multiple of kScoreBlock). column_begin 0 starts anew: whatever the states held before is
// ignored.
struct ScoreState {
  float max = -__builtin_inff();
  float sum = 0;      // of exp(logit - max)
  float target = 0;   // logit of the target token once its column has been seen
  int32_t best = -1;  // argmax so far, lowest index wins
  float best_logit = -__builtin_inff();
};
static_assert(sizeof(ScoreState) == kScoreStateBytes);
struct ScoreParams {
  const float* logits = nullptr;  // [m, columns]
  int64_t stride = 0;
  int64_t m = 0;
  int64_t column_begin = 0, columns = 0;
  const int32_t* targets = nullptr;  // [m]
  ScoreState* states = nullptr;      // [m]
};

// A token for each of some rows of logits: the best one, the lowest of equals, or one drawn among
// those with (logit - best) * scale >= floor, of them the top_k best, of them the best that hold
// top_p of the mass. Weights are whole numbers (sample_weight.h): every device draws the same.
struct SampleRow {
  int64_t row = 0;   // of logits and tokens
  double scale = 0;  // 1 / temperature; 0: the best one
  double floor = -__builtin_inf();
  double top_p = 1;
  double uniform = 0;  // in [0, 1): of the mass that lies before what is drawn, in order of index
  int32_t top_k = 0;   // 0: all
};
struct SampleParams {
  const float* logits = nullptr;  // [rows, columns]; a NaN is never chosen
  int64_t stride = 0, columns = 0;
  const SampleRow* rows = nullptr;  // ascending
  int64_t m = 0;
  int32_t* tokens = nullptr;  // [rows]; -1 where no logit is above -infinity
};

}  // namespace penstock
