// kv_append, and values of the KV cache as fp32.

// Values of one token and head; for keys, bytes of the page that are as many and as near.
struct KvRow {
  std::byte* codes;
  std::byte* params;
};
inline KvRow kv_row(const KvView& view, std::byte* const* pages, bool value, int64_t head,
                    int64_t position) {
  const int64_t token = position % view.page_tokens;
  std::byte* base =
      pages[position / view.page_tokens] + (value ? view.half_bytes : 0) + head * view.head_bytes;
  return {base + token * view.code_bytes,
          base + view.page_tokens * view.code_bytes + token * view.param_bytes};
}

// One key: word w is at codes + w * stride.
struct KeyPlace {
  std::byte* codes;
  std::byte* params;
  int64_t stride;
};
inline KeyPlace key_place(const KvView& view, std::byte* const* pages, int64_t head,
                          int64_t position) {
  const int64_t token = position % view.page_tokens, in_block = token % view.key_block;
  std::byte* base = pages[position / view.page_tokens] + head * view.head_bytes;
  std::byte* params = base + view.page_tokens * view.code_bytes;
  return {base + (token - in_block) * view.code_bytes + in_block * 4,
          params + (token - in_block) * view.param_bytes + in_block * 4, view.key_block * 4};
}

// Keys or values of one head.
struct KvColumn {
  const KvView& view;
  std::byte* const* pages;
  bool value;
  int64_t head;
};
// Rows of the tokens [begin, end).
inline void kv_rows(const KvColumn& c, int64_t begin, int64_t end, KvRow* rows) {
  for (int64_t token = begin; token < end;) {
    KvRow row = kv_row(c.view, c.pages, c.value, c.head, token);
    const int64_t page_end = at_most(end, (token / c.view.page_tokens + 1) * c.view.page_tokens);
    for (; token < page_end; ++token, ++rows) {
      *rows = row;
      row.codes += c.view.code_bytes;
      row.params += c.view.param_bytes;
    }
  }
}

// ---- Reading ----
inline vf int8_values(vi codes, float scale) {
  return vmul(vset(scale), vto_float(vsub_i(codes, vset_i(128))));
}
inline vf int4_values(vi codes, float scale, float bias) {
  return vfma(vset(scale), vto_float(codes), vset(bias));
}

inline vi kv_codes(const std::byte* p, int bits, int64_t n) {
  alignas(64) std::byte part[kLanes * 4];
  if (n < kLanes) {
    __builtin_memset(part, 0, sizeof part);
    __builtin_memcpy(part, p, static_cast<size_t>(bits == 8 ? n : (n + 1) / 2));
    p = part;
  }
  return bits == 8 ? vload_u8(p) : vload_nibbles(p);
}

void load_quantised_row(const KvView& view, const KvRow& row, float* out) {
  for (int64_t i = 0; i < view.head_dim; i += kLanes) {
    const int64_t group = i / kKvGroup, left = view.head_dim - i;
    const float scale = bf16_at(row.params, group * 2);
    const vi codes = kv_codes(row.codes + i * view.bits / 8, view.bits, left);
    const vf x = view.bits == 8 ? int8_values(codes, scale)
                                : int4_values(codes, scale, bf16_at(row.params, group * 2 + 1));
    vstore_n(out + i, x, left);
  }
}

// head_dim values of one token and head.
void load_kv_row(const KvView& view, const KvRow& row, float* out) {
  if (view.quantised) return load_quantised_row(view, row, out);
  with_loader(view.raw, [&]<class Load>(Load) {
    for (int64_t i = 0; i < view.head_dim; i += kLanes) {
      const int64_t left = view.head_dim - i;
      vstore_n(out + i, load_up_to<Load>(row.codes + i * Load::kBytes, left), left);
    }
  });
}

// ---- Writing: the same steps as kv_store_scalar ----
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

void store_kv_row(const KvView& view, const KvRow& row, const float* x) {
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

// The words of a key, each to its place between those of other keys.
void store_key(const KvView& view, const KeyPlace& place, const float* x) {
  alignas(64) std::byte codes[kMostHeadDim * 4], params[kMostHeadDim / kKvGroup * 4];
  store_kv_row(view, {codes, params}, x);
  for (int64_t at = 0; at < view.code_bytes; at += 4) {
    __builtin_memcpy(place.codes + at / 4 * place.stride, codes + at, 4);
  }
  for (int64_t at = 0; at < view.param_bytes; at += 4) {
    __builtin_memcpy(place.params + at / 4 * place.stride, params + at, 4);
  }
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
        store_key(view, key_place(view, span.pages, head, position), p.k + row * p.k_stride + at);
        store_kv_row(view, kv_row(view, span.pages, true, head, position),
                     p.v + row * p.v_stride + at);
      }
    });
  });
}
