// The mergeable result of attention over a set of keys, and the one fold that joins two of them.
// Merging is not associative in floating point: callers fold segments in ascending key order,
// always.
#pragma once

#include "tensor/units.h"

namespace penstock {

struct AttentionState {
  float max = -__builtin_inff();
  float sum = 0.0f;  // of exp(score - max)
};
static_assert(sizeof(AttentionState) == kAttentionStateBytes);

// Weights of the running and of the incoming output when `next` is folded into `state`:
// output = output * keep + next_output * take. Outputs are unnormalised; divide by sum at the end.
struct FoldWeights {
  float keep, take;
};

// `exp_fn` is the ISA's own scalar exponential, so that every path of one ISA agrees.
template <class Exp>
constexpr FoldWeights fold_state(AttentionState& state, const AttentionState& next, Exp exp_fn) {
  const float max = state.max > next.max ? state.max : next.max;
  const FoldWeights weights{exp_fn(state.max - max), exp_fn(next.max - max)};
  state.sum = state.sum * weights.keep + next.sum * weights.take;
  state.max = max;
  return weights;
}

}  // namespace penstock
