// kv_append: the same steps as kv_store_scalar.

KvGroupParams group_params(const float* x, int64_t count, bool real) {
  const vf inf = vset(__builtin_inff());
  vf low = inf, high = vsub(vzero(), inf);
  vi magnitude = vset_i(0);
  for (int64_t i = 0; i < count; i += kLanes) {
    const vf v = vload_n(x + i, count - i);
    magnitude = vmax_i(magnitude, vand_i(vbits(v), vset_i(0x7fffffff)));
    low = vmin(vselect_range(v, inf, 0, count - i), low);
    high = vmax(vselect_range(v, vsub(vzero(), inf), 0, count - i), high);
  }
  return kv_group_params(real, vsmallest(low), vlargest(high), vlargest_i(magnitude) < 0x7f800000);
}

// Codes of up to kKvGroup values, one per byte.
void group_codes(const float* x, int64_t count, const KvGroupParams& params, bool real,
                 uint8_t* codes) {
  const vf step = vset(params.step), bias = vset(params.bias);
  const vf offset = vset(real ? 0.0f : 128.0f), top = vset(real ? 15.0f : 255.0f);
  for (int64_t i = 0; i < count; i += kLanes) {
    const vf steps = vdiv(vsub(vload_n(x + i, count - i), bias), step);
    const vf bounded = vmin(vmax(steps, vset(-512.0f)), vset(512.0f));
    vstore_u8(codes + i, vto_int(vmin(vmax(vadd(vround(bounded), offset), vzero()), top)));
  }
}

// One token and head, its words one after the other.
void store_words(const KvView& view, const KvAt& row, const float* x) {
  __builtin_memset(row.codes + view.code_bytes - 4, 0, 4);
  if (!view.quantised) {
    for (int64_t i = 0; i < view.head_dim; i += kLanes) {
      store_as(row.codes + i * element_bytes(view.raw), view.raw, vload_n(x + i, view.head_dim - i),
               view.head_dim - i);
    }
    return;
  }
  const bool real = view.bits == 4;
  for (int64_t begin = 0; begin < view.head_dim; begin += kKvGroup) {
    const int64_t count = at_most(kKvGroup, view.head_dim - begin);
    const KvGroupParams params = group_params(x + begin, count, real);
    __builtin_memcpy(row.params + begin / kKvGroup * 4, params.stored, 4);
    uint8_t codes[kKvGroup + kLanes] = {};
    group_codes(x + begin, count, params, real, codes);
    if (!real) {
      __builtin_memcpy(row.codes + begin, codes, static_cast<size_t>(count));
      continue;
    }
    if (count % 2 != 0) codes[count] = 0;
    for (int64_t i = 0; i < count; i += 2) {
      row.codes[(begin + i) / 2] = static_cast<std::byte>(codes[i] | (codes[i + 1] << 4));
    }
  }
}

// Parts of kBytes, `stride` bytes from each other.
template <int kBytes>
inline void scatter(const std::byte* words, int64_t bytes, std::byte* to, int64_t stride) {
  for (int64_t at = 0; at < bytes; at += kBytes, to += stride) {
    __builtin_memcpy(to, words + at, kBytes);
  }
}

void store_kv(const KvColumn& column, int64_t position, const float* x) {
  const KvView& view = column.view;
  alignas(64) std::byte codes[kMostHeadDim * 4], params[kMostHeadDim / kKvGroup * 4];
  store_words(view, {codes, params}, x);
  const KvAt to = column.at(position);
  scatter<4>(params, view.param_bytes, to.params, kKeyStride);
  if (!column.value) return scatter<4>(codes, view.code_bytes, to.codes, kKeyStride);
  if (view.value_block == 4) return scatter<1>(codes, view.code_bytes, to.codes, 4);
  if (view.value_block == 2) return scatter<2>(codes, view.code_bytes, to.codes, 4);
  __builtin_memcpy(to.codes, codes, static_cast<size_t>(view.code_bytes));
}

// Calls f(span, i) for rows [begin, end) of all spans laid end to end.
template <class F>
inline void for_span_rows(const SpanView* spans, int32_t span_count, int64_t begin, int64_t end,
                          F f) {
  int64_t first = 0;
  for (int32_t s = 0; s < span_count && first < end; first += spans[s].count, ++s) {
    const int64_t from = at_least(begin - first, 0), to = at_most(end - first, spans[s].count);
    for (int64_t i = from; i < to; ++i) f(spans[s], i);
  }
}

void kv_append(const KvAppendParams& p, const KernelContext& context) {
  const KvView view = kv_view(p.layout);
  int64_t rows = 0;
  for (int32_t s = 0; s < p.span_count; ++s) rows += p.spans[s].count;
  constexpr int64_t kRowsPerTask = 8;
  context.parallel.for_each(blocks_of(rows, kRowsPerTask), [&](int64_t task, int) {
    const int64_t begin = task * kRowsPerTask, end = at_most(rows, begin + kRowsPerTask);
    for_span_rows(p.spans, p.span_count, begin, end, [&](const SpanView& span, int64_t i) {
      const int64_t row = span.first_row + i, position = span.position + i;
      if (position < span.key_begin || position >= span.key_end) return;
      for (int64_t head = 0; head < view.kv_heads; ++head) {
        const int64_t at = head * view.head_dim;
        store_kv({view, span.pages, false, head}, position, p.k + row * p.k_stride + at);
        store_kv({view, span.pages, true, head}, position, p.v + row * p.v_stride + at);
      }
    });
  });
}
