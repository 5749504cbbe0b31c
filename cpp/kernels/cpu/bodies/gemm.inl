// gemm: picks the loop for a weight format and the kind of its prepared inputs.

void gemm(const GemmParams& p, const KernelContext& context) {
  const WeightView view = weight_view(p.format, p.k);
  if (p.input.kind == InputKind::int8) {
    if (view.bits == 8) return run_gemm(GemmInt<8>{view}, p, context);
    return run_gemm(GemmInt<4>{view}, p, context);
  }
  run_gemm(GemmF32{view, p.input.kind == InputKind::bf16}, p, context);
}
