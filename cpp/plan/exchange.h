// What crosses between an accelerator and host attention, for one micro-batch: rows of q, k, v and
// of what attention gives, in a buffer of the same layout on both sides.
#pragma once

#include <cstdint>

#include "base/checked.h"
#include "model/program.h"
#include "tensor/units.h"

namespace penstock {

struct ExchangeLayout {
  int64_t tokens = 0;                            // rows
  bool attends = false;                          // q, attended and states are there
  int64_t q_width = 0, kv_width = 0, heads = 0;  // fp32 values of a row

  int64_t q_offset() const { return 0; }
  int64_t k_offset() const { return attends ? part(q_width) : 0; }
  int64_t v_offset() const { return k_offset() + part(kv_width); }
  int64_t attended_offset() const { return v_offset() + part(kv_width); }
  int64_t states_offset() const { return attended_offset() + part(q_width); }
  int64_t bytes() const {
    const int64_t states = round_up(tokens * heads * kAttentionStateBytes, kLineBytes);
    return attends ? states_offset() + states : attended_offset();
  }

 private:
  int64_t part(int64_t width) const { return round_up(tokens * width * 4, kLineBytes); }
};

}  // namespace penstock
