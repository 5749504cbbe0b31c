// embed, gated, gather_rows, rotary.

void embed(const EmbedParams& p, const KernelContext& context) {
  const std::byte* rows = static_cast<const std::byte*>(p.rows);
  const std::byte* add = static_cast<const std::byte*>(p.add);
  with_loader(p.dtype, [&]<class Load>(Load) {
    for_row_runs(context, p.m, rows_per_task(p.dim), [&](int64_t row, int) {
      const int64_t base = row * p.dim * Load::kBytes;
      for (int64_t i = 0; i < p.dim; i += kLanes) {
        const int64_t at = base + i * Load::kBytes, left = p.dim - i;
        vf x = load_up_to<Load>(rows + at, left);
        if (add != nullptr) x = vadd(x, load_up_to<Load>(add + at, left));
        vstore_n(p.out + row * p.out_stride + i, x, left);
      }
    });
  });
}

void gated(const GatedParams& p, const KernelContext& context) {
  for_row_runs(context, p.m, rows_per_task(p.dim), [&](int64_t row, int) {
    const float* gate = p.gate + row * p.stride;
    const float* up = p.up + row * p.stride;
    float* out = p.out + row * p.out_stride;
    for (int64_t i = 0; i < p.dim; i += kLanes) {
      const int64_t left = p.dim - i;
      vstore_n(out + i, vmul(vact(p.act, vload_n(gate + i, left)), vload_n(up + i, left)), left);
    }
  });
}

void gather_rows(const GatherRowsParams& p, const KernelContext& context) {
  for_row_runs(context, p.m, rows_per_task(p.dim), [&](int64_t row, int) {
    __builtin_memcpy(p.out + row * p.out_stride, p.x + p.rows[row] * p.x_stride,
                     static_cast<size_t>(p.dim) * sizeof(float));
  });
}

// Cosines and sines of one row's position, once for all heads.
void rotary_angles(const RotaryParams& p, int64_t row, float* cosines, float* sines) {
  const float position = static_cast<float>(p.positions[row]);
  for (int i = 0; i < p.rotary_dim / 2; ++i) {
    const float angle = position * p.inv_freq[i];
    cosines[i] = __builtin_cosf(angle) * p.scale;
    sines[i] = __builtin_sinf(angle) * p.scale;
  }
}

void rotate_head(float* first, float* second, const float* cosines, const float* sines, int half) {
  for (int i = 0; i < half; i += kLanes) {
    const int left = half - i;
    const vf a = vload_n(first + i, left), b = vload_n(second + i, left);
    const vf c = vload_n(cosines + i, left), s = vload_n(sines + i, left);
    vstore_n(first + i, vsub(vmul(a, c), vmul(b, s)), left);
    vstore_n(second + i, vadd(vmul(b, c), vmul(a, s)), left);
  }
}

void rotary(const RotaryParams& p, const KernelContext& context) {
  const int half = p.rotary_dim / 2;
  for_row_runs(
      context, p.m, rows_per_task(int64_t{p.heads} * p.head_dim), [&](int64_t row, int worker) {
        void* scratch = context.scratch + static_cast<size_t>(worker) * kScratchBytesPerWorker;
        float* cosines = static_cast<float*>(scratch);
        float* sines = cosines + half;
        rotary_angles(p, row, cosines, sines);
        for (int head = 0; head < p.heads; ++head) {
          float* x = p.x + row * p.x_stride + int64_t{head} * p.head_dim;
          rotate_head(x, x + half, cosines, sines, half);
        }
      });
}
