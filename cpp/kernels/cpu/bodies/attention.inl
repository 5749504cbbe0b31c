// attention: picks the kernel for a cache format.

void attention(const AttentionParams& p, const KernelContext& context) {
  const KvView view = kv_view(p.layout);
  if (p.exact || !view.quantised) return run_attention<FloatAttention>(p, context);
  if (view.bits == 8) return run_attention<CodeAttention<8, CodeVectors<8>>>(p, context);
  run_attention<CodeAttention<4, CodeVectors<4>>>(p, context);
}
