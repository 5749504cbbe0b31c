// prepare: inputs of a GEMM as fp32, bf16 or int8 with one scale per block.

void prepare_f32(const float* x, const PreparedLayout& layout, std::byte* out) {
  float* to = static_cast<float*>(static_cast<void*>(out));
  for (int64_t k = 0; k < layout.padded_k; k += kLanes)
    vstore(to + k, vload_n(x + k, layout.k - k));
}

void prepare_bf16(const float* x, const PreparedLayout& layout, std::byte* out) {
  for (int64_t k = 0; k < layout.padded_k; k += kLanes) {
    vstore_u16(out + k * 2, bf16_lanes(vload_n(x + k, layout.k - k)));
  }
}

// Codes of block `block` of a row; returns their sum.
int32_t prepare_block(const float* x, const PreparedLayout& layout, int64_t block, std::byte* out,
                      float* scale) {
  const int64_t begin = block * layout.block, end = begin + layout.block;
  vi largest = vset_i(0);
  for (int64_t k = begin; k < end; k += kLanes) {
    largest = vmax_i(largest, vand_i(vbits(vload_n(x + k, layout.k - k)), vset_i(0x7fffffff)));
  }
  const BlockScale block_scales = block_scale(largest, 127.0f);
  *scale = block_scales.scale;
  const vf inverse = vset(block_scales.inverse), top = vset(127.0f), bottom = vset(-127.0f);
  vi sums = vset_i(0);
  for (int64_t k = begin; k < end; k += kLanes) {
    const vf steps = vmul(vload_n(x + k, layout.k - k), inverse);
    const vi codes = vto_int(vround(vmin(vmax(steps, bottom), top)));
    sums = vadd_i(sums, codes);
    vstore_u8(out + k, codes);
  }
  return vsum_i(sums);
}

void prepare_int8(const float* x, const PreparedLayout& layout, std::byte* out) {
  float* scales = static_cast<float*>(static_cast<void*>(out + layout.scales_offset));
  int32_t* sums = static_cast<int32_t*>(static_cast<void*>(scales + layout.blocks));
  for (int64_t b = 0; b < layout.blocks; ++b) {
    sums[b] = prepare_block(x, layout, b, out, scales + b);
  }
  const int64_t written = layout.blocks * layout.block;
  if (written < layout.row_bytes) {
    __builtin_memset(out + written, 0, static_cast<size_t>(layout.row_bytes - written));
  }
}

void prepare(const PrepareParams& p, const KernelContext& context) {
  for_row_runs(context, p.m, rows_per_task(p.layout.k), [&](int64_t row, int) {
    const float* x = p.x + row * p.x_stride;
    std::byte* out = p.out + row * p.layout.stride_bytes;
    switch (p.layout.kind) {
      case InputKind::f32:
        return prepare_f32(x, p.layout, out);
      case InputKind::bf16:
        return prepare_bf16(x, p.layout, out);
      case InputKind::int8:
        return prepare_int8(x, p.layout, out);
      case InputKind::f16:
        return;  // of CUDA kernels only: no weight asks these kernels for it
    }
  });
}
