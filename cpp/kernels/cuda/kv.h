// kv_append: a warp a (row, head) of keys or of values; the same bytes as kv_store_scalar.
#pragma once

#include "kernels/cuda/numeric.h"
#include "kernels/views.h"
#include "tensor/kv_layout.h"

namespace penstock::cuda {

// A row of a micro-batch: its span, and which of the span's rows it is.
struct RowPlace {
  int32_t span, row;
};

// KvLayout::place of a view.
PENSTOCK_DEVICE inline KvPlace kv_place(const KvView& view, bool value, int64_t head,
                                        int64_t token) {
  const int64_t base = (value ? view.half_bytes : 0) + head * view.head_bytes;
  const int64_t in_block = token % kKeyBlock, in_word = token % view.value_block;
  const int64_t params = base + view.page_tokens * view.code_bytes +
                         (token - in_block) * view.param_bytes + in_block * 4;
  if (!value) {
    return {base + (token - in_block) * view.code_bytes + in_block * 4, 4, 4 * kKeyBlock, params};
  }
  const int64_t part_bytes = 4 / view.value_block;
  return {base + (token - in_word) * view.code_bytes + in_word * part_bytes, part_bytes, 4, params};
}
// Byte `i` of a token's codes.
PENSTOCK_DEVICE inline int64_t code_byte(const KvPlace& place, int64_t i) {
  return place.codes + i / place.part_bytes * place.stride + i % place.part_bytes;
}

struct KvAppendArgs {
  KvAppendParams params;
  KvView view;
  const RowPlace* rows;
  int64_t row_count;
};

struct KvAppendKernel {
  static constexpr int kThreads = 128;

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const KvAppendArgs& args) const {
    const KvAppendParams& p = args.params;
    const KvView& view = args.view;
    const int64_t task = on.block() * (on.threads() / kWarp) + on.thread() / kWarp;
    const int64_t head = task % view.kv_heads, row = task / view.kv_heads / 2;
    const bool value = task / view.kv_heads % 2 != 0;
    if (row >= args.row_count) return;
    const SpanView& span = p.spans[args.rows[row].span];
    const int64_t i = args.rows[row].row, position = span.position + i;
    if (position < span.key_begin || position >= span.key_end) return;
    const int64_t batch_row = span.first_row + i;
    const float* x = (value ? p.v + batch_row * p.v_stride : p.k + batch_row * p.k_stride) +
                     head * view.head_dim;
    const Slot slot{span.pages[position / view.page_tokens],
                    kv_place(view, value, head, position % view.page_tokens)};
    const int lane = on.thread() % kWarp;
    if (!view.quantised) return store_raw(view, slot, x, lane);
    for (int64_t begin = 0; begin < view.head_dim; begin += kKvGroup) {
      store_group(on, view, slot, x + begin, begin);
    }
    const int64_t used = blocks_of(view.head_dim * view.bits, 8);
    for (int64_t b = used + lane; b < view.code_bytes; b += kWarp) {
      slot.code(b) = std::byte{0};
    }
  }

 private:
  // Of a token and head.
  struct Slot {
    std::byte* page;
    KvPlace place;
    PENSTOCK_DEVICE std::byte& code(int64_t i) const { return page[code_byte(place, i)]; }
  };

  PENSTOCK_DEVICE static void store_raw(const KvView& view, const Slot& slot, const float* x,
                                        int lane) {
    const int bytes = view.raw == DType::f32 ? 4 : 2;
    for (int64_t d = lane; d < view.code_bytes / bytes; d += kWarp) {
      const float element = d < view.head_dim ? x[d] : 0.0f;
      std::byte* at = &slot.code(d * bytes);
      if (view.raw == DType::f32) {
        store(at, element);
      } else {
        store(at, view.raw == DType::f16 ? f16_from_float(element) : bf16_from_float(element));
      }
    }
  }

  // Two neighbours a lane: x[0] is element `begin` of the head.
  template <class Thread>
  PENSTOCK_DEVICE static void store_group(const Thread& on, const KvView& view, const Slot& slot,
                                          const float* x, int64_t begin) {
    const int lane = on.thread() % kWarp;
    const bool real = view.bits == 4;
    const int64_t count = at_most<int64_t>(kKvGroup, view.head_dim - begin);
    float low = INFINITY, high = -INFINITY;
    int32_t finite = 1;
    for (int64_t i = 2 * lane; i < at_most<int64_t>(count, 2 * lane + 2); ++i) {
      low = at_most(x[i], low);
      high = at_least(x[i], high);
      finite &= (std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu) < 0x7f800000u ? 1 : 0;
    }
    low = on.over_warp(low, Smallest{});
    high = on.over_warp(high, Largest{});
    finite = on.over_warp(finite, Smallest{});
    const KvGroupParams params = kv_group_params(real, low, high, finite != 0);
    if (lane == 0) {
      std::byte* at = slot.page + slot.place.params + begin / kKvGroup * 4 * kKeyBlock;
      store(at, params.stored[0]);
      store(at + 2, params.stored[1]);
    }
    if (2 * lane >= count) return;
    const uint32_t first = kv_code(x[2 * lane], params, real);
    const bool both = 2 * lane + 1 < count;
    const uint32_t second = both ? kv_code(x[2 * lane + 1], params, real) : 0;
    if (real) {
      slot.code(begin / 2 + lane) = static_cast<std::byte>(first | (second << 4));
      return;
    }
    slot.code(begin + 2 * lane) = static_cast<std::byte>(first);
    if (both) slot.code(begin + 2 * lane + 1) = static_cast<std::byte>(second);
  }
};

}  // namespace penstock::cuda
