// attention: a block a (row, head), a thread some keys of a segment for the scores and some
// elements of head_dim for the values. One state per absolute segment of keys, folded left to
// right.
#pragma once

#include "kernels/attention_state.h"
#include "kernels/cuda/kv.h"

namespace penstock::cuda {

struct AttentionArgs {
  AttentionParams params;
  KvView view;
  const RowPlace* rows;
};

// Where the codes and params of a token's values are.
struct ValuePlace {
  const std::byte *codes, *params;
};

// How a cache is read as fp32.
//   kWide                        values in a word of a key
//   part(word, params, i)        value i of a word
//   value(place, d)              element d of a token's values
template <DType kType>
struct RawReader {
  static constexpr int kWide = kType == DType::f32 ? 1 : 2;

  PENSTOCK_DEVICE static float part(uint32_t word, uint32_t, int i) {
    if constexpr (kType == DType::f32) return std::bit_cast<float>(word);
    return of_half(static_cast<uint16_t>(word >> (16 * i)));
  }
  PENSTOCK_DEVICE static float value(const ValuePlace& place, int64_t d) {
    if constexpr (kType == DType::f32) return load<float>(place.codes + d * 4);
    // bf16: two tokens share a word.
    return of_half(load<uint16_t>(place.codes + d * (kType == DType::bf16 ? 4 : 2)));
  }

 private:
  PENSTOCK_DEVICE static float of_half(uint16_t half) {
    return kType == DType::f16 ? float_from_f16(half) : float_from_bf16(half);
  }
};

// Four tokens share a word of values.
template <int kBits>
struct CodeReader {
  static constexpr int kWide = 32 / kBits;

  PENSTOCK_DEVICE static float part(uint32_t word, uint32_t params, int i) {
    return of_code(word >> (kBits * i), params);
  }
  PENSTOCK_DEVICE static float value(const ValuePlace& place, int64_t d) {
    const uint32_t params = load_word(place.params + d / kKvGroup * 4 * kKeyBlock);
    const auto byte = std::to_integer<uint32_t>(place.codes[d * kBits / 8 * 4]);
    return of_code(kBits == 8 || d % 2 == 0 ? byte : byte >> 4, params);
  }

 private:
  // The code in the low bits.
  PENSTOCK_DEVICE static float of_code(uint32_t bits, uint32_t params) {
    const auto code = static_cast<int32_t>(bits & ((1u << kBits) - 1));
    if constexpr (kBits == 8) return low_bf16(params) * static_cast<float>(code - 128);
    return fmaf(low_bf16(params), static_cast<float>(code), high_bf16(params));
  }
};

inline constexpr int kAttentionThreads = 128;
inline size_t attention_shared(int64_t head_dim) {
  return kAttentionSegment * sizeof(ValuePlace) +
         (static_cast<size_t>(head_dim) + kAttentionSegment + kAttentionThreads / kWarp) *
             sizeof(float);
}

template <class Reader>
struct AttentionKernel {
  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const AttentionArgs& args) const {
    const AttentionParams& p = args.params;
    const RowPlace place = args.rows[on.block() / p.heads];
    const Row row(args, p.spans[place.span], place.row, on.block() % p.heads);
    const Room room(on.shared(), args.view.head_dim);
    for (int64_t d = on.thread(); d < args.view.head_dim; d += on.threads()) {
      room.query[d] = row.query[d];
      if (!row.span.resume) row.out[d] = 0;
    }
    on.sync();
    AttentionState state = row.span.resume ? *row.handed : AttentionState{};
    for (int64_t first = row.begin / kAttentionSegment * kAttentionSegment; first < row.end;
         first += kAttentionSegment) {
      add_segment(on, row, first, room, state);
    }
    if (row.span.partial) {
      if (on.thread() == 0) *row.handed = state;
      return;
    }
    for (int64_t d = on.thread(); d < args.view.head_dim; d += on.threads())
      row.out[d] /= state.sum;
  }

 private:
  struct Row {
    const KvView& view;
    const SpanView& span;
    float scale;
    int64_t kv_head, begin, end;  // keys of the span's part
    const float* query;
    float* out;
    AttentionState* handed;

    PENSTOCK_DEVICE Row(const AttentionArgs& args, const SpanView& of, int64_t i, int64_t head)
        : view(args.view), span(of), scale(args.params.scale) {
      const AttentionParams& p = args.params;
      const int64_t position = span.position + i, batch_row = span.first_row + i;
      const int64_t seen = p.window > 0 ? at_least<int64_t>(0, position - p.window + 1) : 0;
      begin = at_least<int64_t>(seen, span.key_begin);
      end = at_most<int64_t>(position + 1, span.key_end);
      kv_head = head / (p.heads / view.kv_heads);
      query = p.q + batch_row * p.q_stride + head * view.head_dim;
      out = p.out + batch_row * p.out_stride + head * view.head_dim;
      handed = p.states == nullptr ? nullptr : p.states + batch_row * p.heads + head;
    }
    // Of keys or of values.
    PENSTOCK_DEVICE ValuePlace place(bool value, int64_t key) const {
      const std::byte* page = span.pages[key / view.page_tokens];
      const KvPlace place = kv_place(view, value, kv_head, key % view.page_tokens);
      return {page + place.codes, page + place.params};
    }
  };

  // Shared memory.
  struct Room {
    ValuePlace* values;  // of the keys of a segment
    float *query, *weights, *joined;

    PENSTOCK_DEVICE Room(std::byte* shared, int64_t head_dim)
        : values(static_cast<ValuePlace*>(static_cast<void*>(shared))),
          query(static_cast<float*>(static_cast<void*>(values + kAttentionSegment))),
          weights(query + head_dim),
          joined(weights + kAttentionSegment) {}
  };

  // The unscaled score of a key: a sum over ascending d.
  PENSTOCK_DEVICE static float score(const KvView& view, const ValuePlace& key,
                                     const float* query) {
    float sum = 0;
    uint32_t params = 0;
    for (int64_t d = 0; d < view.head_dim; d += Reader::kWide) {
      if (view.quantised && d % kKvGroup == 0) {
        params = load_word(key.params + d / kKvGroup * 4 * kKeyBlock);
      }
      const uint32_t word = load_word(key.codes + d / Reader::kWide * 4 * kKeyBlock);
      PENSTOCK_UNROLL
      for (int i = 0; i < Reader::kWide; ++i) {
        if (d + i < view.head_dim) sum = fmaf(query[d + i], Reader::part(word, params, i), sum);
      }
    }
    return sum;
  }

  template <class Thread>
  PENSTOCK_DEVICE static void add_segment(const Thread& on, const Row& row, int64_t first,
                                          const Room& room, AttentionState& state) {
    const int64_t begin = at_least(first, row.begin);
    const int64_t end = at_most<int64_t>(first + kAttentionSegment, row.end);
    AttentionState next;
    for (int64_t key = first + on.thread(); key < end; key += on.threads()) {
      if (key < begin) continue;
      const float scaled = score(row.view, row.place(false, key), room.query) * row.scale;
      room.weights[key - first] = scaled;
      room.values[key - first] = row.place(true, key);
      next.max = Largest{}(next.max, scaled);
    }
    next.max = over_block(on, room.joined, next.max, Largest{});
    for (int64_t key = first + on.thread(); key < end; key += on.threads()) {
      if (key < begin) continue;
      const float weight = exp_of(room.weights[key - first] - next.max);
      room.weights[key - first] = weight;
      next.sum += weight;
    }
    next.sum = over_block(on, room.joined, next.sum, Add{});
    const FoldWeights fold = fold_state(state, next, ExpOf{});
    for (int64_t d = on.thread(); d < row.view.head_dim; d += on.threads()) {
      float sum = 0;
      for (int64_t k = begin - first; k < end - first; ++k) {
        sum = fmaf(room.weights[k], Reader::value(room.values[k], d), sum);
      }
      row.out[d] = fmaf(sum, fold.take, row.out[d] * fold.keep);
    }
    on.sync();
  }
};

// Calls f(Reader{}) for the reader of a cache.
template <class F>
void with_kv_reader(const KvView& view, F f) {
  if (view.quantised) return view.bits == 8 ? f(CodeReader<8>{}) : f(CodeReader<4>{});
  switch (view.raw) {
    case DType::f32:
      return f(RawReader<DType::f32>{});
    case DType::f16:
      return f(RawReader<DType::f16>{});
    case DType::bf16:
      return f(RawReader<DType::bf16>{});
  }
}

}  // namespace penstock::cuda
