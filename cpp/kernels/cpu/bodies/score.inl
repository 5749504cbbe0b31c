// score: log-sum-exp, argmax and the target's logit, block by block of the vocabulary.

struct BlockSum {
  float max = -__builtin_inff();
  float sum = 0.0f;
};

BlockSum score_block(const float* logits, int64_t count) {
  const vf lowest = vset(-__builtin_inff());
  vf largest = lowest;
  for (int64_t i = 0; i < count; i += kLanes) {
    const vf x = vselect_range(vload_n(logits + i, count - i), lowest, 0, count - i);
    largest = vmax(x, largest);
  }
  BlockSum block;
  block.max = vlargest(largest);
  if (block.max == -__builtin_inff()) {  // no number at all: remember a NaN
    for (int64_t i = 0; i < count; ++i) block.sum += logits[i] != logits[i] ? logits[i] : 0.0f;
    return block;
  }
  vf sums = vzero();
  for (int64_t i = 0; i < count; i += kLanes) {
    const vf e = vexp(vsub(vload_n(logits + i, count - i), vset(block.max)));
    sums = vadd(sums, vselect_range(e, vzero(), 0, count - i));
  }
  block.sum = vsum(sums);
  return block;
}

void score_row(const float* logits, int64_t begin, int64_t columns, ScoreState& state) {
  for (int64_t at = 0; at < columns; at += kScoreBlock) {
    const int64_t count = at_most(kScoreBlock, columns - at);
    const BlockSum block = score_block(logits + at, count);
    if (block.max > state.best_logit) {
      int64_t i = 0;
      while (!(logits[at + i] == block.max)) ++i;
      state.best = static_cast<int32_t>(begin + at + i);
      state.best_logit = block.max;
    }
    if (block.max == -__builtin_inff()) {
      state.sum += block.sum;
      continue;
    }
    const float max = state.max > block.max ? state.max : block.max;
    const ScalarExp exp;
    state.sum = state.sum * exp(state.max - max) + block.sum * exp(block.max - max);
    state.max = max;
  }
}

void score(const ScoreParams& p, const KernelContext& context) {
  for_row_runs(context, p.m, rows_per_task(p.columns), [&](int64_t row, int) {
    const float* logits = p.logits + row * p.stride;
    if (p.column_begin == 0) p.states[row] = ScoreState{};
    score_row(logits, p.column_begin, p.columns, p.states[row]);
    const int64_t target = p.targets == nullptr ? -1 : p.targets[row] - p.column_begin;
    if (target >= 0 && target < p.columns) p.states[row].target = logits[target];
  });
}
