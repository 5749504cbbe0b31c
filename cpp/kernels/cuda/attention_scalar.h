// Partial attention in fp32 over any cache: one query of the tile after the other, a thread some
// keys of the segment for the scores and some elements of head_dim for the values.
#pragma once

#include "kernels/cuda/attention.h"

namespace penstock::cuda {

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
    const AttentionBlock block(args, on.block());
    const Room room(on.shared(), args.view.head_dim);
    for (int64_t query = 0; query < block.queries(); ++query) {
      const float* q = block.q(args, query);
      on.sync();
      for (int64_t d = on.thread(); d < args.view.head_dim; d += on.threads()) room.query[d] = q[d];
      on.sync();
      const AttentionState state = add_keys(on, args, block, query, room);
      if (on.thread() == 0) block.finish(args, query, state);
    }
  }

 private:
  // Shared memory.
  struct Room {
    ValuePlace* values;  // of the keys of the segment
    float *query, *weights, *joined;

    PENSTOCK_DEVICE Room(std::byte* shared, int64_t head_dim)
        : values(static_cast<ValuePlace*>(static_cast<void*>(shared))),
          query(static_cast<float*>(static_cast<void*>(values + kAttentionSegment))),
          weights(query + head_dim),
          joined(weights + kAttentionSegment) {}
  };

  // Of a key or of a value.
  PENSTOCK_DEVICE static ValuePlace place(const KvView& view, const AttentionBlock& block,
                                          bool value, int64_t key) {
    const std::byte* page = block.span.pages[key / view.page_tokens];
    const KvPlace place = kv_place(view, value, block.kv_head, key % view.page_tokens);
    return {page + place.codes, page + place.params};
  }

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
  PENSTOCK_DEVICE static AttentionState add_keys(const Thread& on, const AttentionArgs& args,
                                                 const AttentionBlock& block, int64_t query,
                                                 const Room& room) {
    const KeyRange keys = block.keys(args, query);
    const int64_t first = block.first_key;
    AttentionState state;
    for (int64_t key = first + on.thread(); key < keys.end; key += on.threads()) {
      if (key < keys.begin) continue;
      const ValuePlace at = place(args.view, block, false, key);
      const float scaled = score(args.view, at, room.query) * args.params.scale;
      room.weights[key - first] = scaled;
      room.values[key - first] = place(args.view, block, true, key);
      state.max = Largest{}(state.max, scaled);
    }
    state.max = over_block(on, room.joined, state.max, Largest{});
    for (int64_t key = first + on.thread(); key < keys.end; key += on.threads()) {
      if (key < keys.begin) continue;
      const float weight = exp_of(room.weights[key - first] - state.max);
      room.weights[key - first] = weight;
      state.sum += weight;
    }
    state.sum = over_block(on, room.joined, state.sum, Add{});
    float* out = block.partial(args, query);
    for (int64_t d = on.thread(); d < args.view.head_dim; d += on.threads()) {
      float sum = 0;
      for (int64_t k = keys.begin - first; k < keys.end - first; ++k) {
        sum = fmaf(room.weights[k], Reader::value(room.values[k], d), sum);
      }
      out[d] = sum;
    }
    return state;
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
