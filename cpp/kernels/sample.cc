#include "kernels/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace penstock {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr int kBlock = 16;  // numbers that are compared together

// The largest number, -infinity when there is none.
float largest(const float* values, int64_t count) {
  float lanes[kBlock];
  std::fill_n(lanes, kBlock, kNever);
  int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    for (int j = 0; j < kBlock; ++j) lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
  }
  for (; i < count; ++i) lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
  return *std::max_element(lanes, lanes + kBlock);
}

// f(i) for every number above threshold(), ascending; f may raise it.
template <class Threshold, class F>
void for_above(const float* values, int64_t count, Threshold threshold, F f) {
  int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    const float bar = threshold();
    int above = 0;
    for (int j = 0; j < kBlock; ++j) above |= values[i + j] > bar ? 1 : 0;
    for (int j = 0; above != 0 && j < kBlock; ++j) {
      if (values[i + j] > threshold()) f(i + j);
    }
  }
  for (; i < count; ++i) {
    if (values[i] > threshold()) f(i);
  }
}

class Draw {
 public:
  Draw(const float* scores, int64_t columns, const SampleRow& how, float top)
      : scores_(scores), columns_(columns), how_(how), by_{top, how.scale, how.floor} {}

  int32_t token(const SampleTools& tools) const {
    int32_t* ids = tools.ids;
    if (how_.top_k == 0 && how_.top_p == 1) {
      return drawn([&](auto f) { for_weights(tools.weigh, f); });
    }
    const int64_t count = how_.top_k > 0 ? best_by_number(ids) : best_by_mass(tools);
    std::sort(ids, ids + count);
    return drawn([&](auto f) {
      for (int64_t i = 0; i < count; ++i) f(ids[i], weight(ids[i]));
    });
  }

 private:
  uint64_t weight(int64_t i) const { return sample_weight(scores_[i], by_); }

  // f(i, weight) for all logits, ascending.
  template <class F>
  void for_weights(WeighSamples weigh, F f) const {
    uint64_t weights[kWeighed];
    int64_t first = 0;
    for (; first + kWeighed <= columns_; first += kWeighed) {
      weigh(scores_ + first, by_, weights);
      for (int i = 0; i < kWeighed; ++i) f(first + i, weights[i]);
    }
    for (int64_t i = first; i < columns_; ++i) f(i, weight(i));
  }

  // The ids of the top_k best that weigh something, and of them as many as hold top_p of the mass;
  // returns how many.
  int64_t best_by_number(int32_t* ids) const {
    const BetterScore better{scores_};
    int64_t count = 0;
    // A heap whose front is the worst that is kept; of equals the lower id, which came first.
    const auto threshold = [&] { return count == how_.top_k ? scores_[ids[0]] : kNever; };
    for_above(scores_, columns_, threshold, [&](int64_t i) {
      if (weight(i) == 0) return;
      if (count == how_.top_k) std::pop_heap(ids, ids + count--, better);
      ids[count++] = static_cast<int32_t>(i);
      std::push_heap(ids, ids + count, better);
    });
    if (how_.top_p == 1) return count;
    uint64_t total = 0;
    for (int64_t i = 0; i < count; ++i) total += weight(ids[i]);
    return kept_of({ids, count}, sample_top_mass(how_.top_p, total));
  }

  // The ids that hold top_p of the mass: all of the bins before the one that reaches it, and the
  // best of that one.
  int64_t best_by_mass(const SampleTools& tools) const {
    const float rate = sample_bin_rate(how_.scale);
    const auto bin = [&](int64_t i) { return sample_bin(scores_[i], by_.top, rate); };
    uint64_t masses[kSampleBins] = {}, total = 0, before = 0;
    for_weights(tools.weigh, [&](int64_t i, uint64_t weight) {
      if (weight > 0) masses[bin(i)] += weight;
    });
    for (const uint64_t mass : masses) total += mass;
    const uint64_t wanted = sample_top_mass(how_.top_p, total);
    int32_t last = 0;
    for (; before + masses[last] < wanted; ++last) before += masses[last];
    int32_t* const ids = tools.ids;
    int32_t *end = ids, *rest = ids + columns_;  // those of the last bin grow from the end
    for_above(
        scores_, columns_, [] { return kNever; },
        [&](int64_t i) {
          const int32_t own = bin(i);
          if (own < last) *end++ = static_cast<int32_t>(i);
          if (own == last && weight(i) > 0) *--rest = static_cast<int32_t>(i);
        });
    const int64_t kept = kept_of({rest, ids + columns_ - rest}, wanted - before);
    std::copy(rest, rest + kept, end);
    return end - ids + kept;
  }

  struct Ids {
    int32_t* first;
    int64_t count;
  };
  // The best ids come first, as many as hold `wanted`; returns how many.
  int64_t kept_of(Ids ids, uint64_t wanted) const {
    std::sort(ids.first, ids.first + ids.count, BetterScore{scores_});
    int64_t kept = 0;
    for (uint64_t mass = 0; mass < wanted; ++kept) mass += weight(ids.first[kept]);
    return kept;
  }

  // each(f) calls f(id, weight) in ascending order.
  template <class Each>
  static uint64_t total_of(Each each) {
    uint64_t total = 0;
    each([&](int64_t, uint64_t weight) { total += weight; });
    return total;
  }
  template <class Each>
  int32_t drawn(Each each) const {
    const uint64_t wanted = sample_drawn_mass(how_.uniform, total_of(each));
    uint64_t sum = 0;
    int32_t token = -1;
    each([&](int64_t i, uint64_t weight) {
      sum += weight;
      if (token < 0 && sum >= wanted) token = static_cast<int32_t>(i);
    });
    return token;
  }

  const float* scores_;
  int64_t columns_;
  const SampleRow& how_;
  SampleScale by_;
};

}  // namespace

int32_t sample_token(const float* scores, int64_t columns, const SampleRow& how,
                     const SampleTools& tools) {
  const float top = largest(scores, columns);
  if (top == kNever) return -1;
  if (how.scale == 0 || !std::isfinite(top)) {
    return static_cast<int32_t>(std::find(scores, scores + columns, top) - scores);
  }
  return Draw(scores, columns, how, top).token(tools);
}

void sample_rows(const SampleParams& params, const KernelContext& context, WeighSamples weigh) {
  static_assert(kMostSampled * sizeof(int32_t) <= kScratchBytesPerWorker);
  context.parallel.for_each(params.m, [&](int64_t i, int worker) {
    const SampleRow& how = params.rows[i];
    void* scratch = context.scratch + static_cast<size_t>(worker) * kScratchBytesPerWorker;
    params.tokens[how.row] = sample_token(params.logits + how.row * params.stride, params.columns,
                                          how, {weigh, static_cast<int32_t*>(scratch)});
  });
}

}  // namespace penstock
