// sample: weights of many logits by this ISA's instructions (sample.h).

void sample(const SampleParams& p, const KernelContext& context) {
  sample_rows(p, context, weigh_samples);
}
