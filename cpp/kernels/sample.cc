#include "kernels/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/sample_weight.h"

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

// The order of a list of ids: descending scores, ascending ids among equals.
struct Better {
  const float* scores;
  bool operator()(int32_t a, int32_t b) const {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  }
};
struct Worse {
  Better better;
  bool operator()(int32_t a, int32_t b) const { return better(b, a); }
};

class Draw {
 public:
  Draw(const float* scores, int64_t columns, const SampleRow& how, float top)
      : scores_(scores), columns_(columns), how_(how), top_(top) {}

  int32_t of_all() const {
    const auto each = [this](auto f) { for_above(scores_, columns_, [] { return kNever; }, f); };
    return drawn(each);
  }

  // Among those that top_k and top_p leave.
  int32_t of_best(int32_t* ids) const {
    int64_t count = gather(ids);
    if (how_.top_p < 1) count = cut_mass(ids, count);
    std::sort(ids, ids + count);
    return drawn([&](auto f) { std::for_each(ids, ids + count, f); });
  }

 private:
  uint64_t weight(int64_t i) const {
    const double x = (static_cast<double>(scores_[i]) - top_) * how_.scale;
    return x < how_.floor ? 0 : sample_weight(x);
  }

  // Those that weigh something, the top_k best of them; returns how many.
  int64_t gather(int32_t* ids) const {
    const Better better{scores_};
    const int64_t most = how_.top_k > 0 ? how_.top_k : columns_;
    int64_t count = 0;
    // A heap whose front is the worst that is kept; of equals the lower id, which came first.
    const auto threshold = [&] { return count == most ? scores_[ids[0]] : kNever; };
    for_above(scores_, columns_, threshold, [&](int64_t i) {
      if (weight(i) == 0) return;
      if (count == most) std::pop_heap(ids, ids + count--, better);
      ids[count++] = static_cast<int32_t>(i);
      if (how_.top_k > 0) std::push_heap(ids, ids + count, better);
    });
    return count;
  }

  // The best ones, as many as hold top_p of the mass, come first; returns how many.
  int64_t cut_mass(int32_t* ids, int64_t count) const {
    uint64_t total = 0, kept = 0;
    std::for_each(ids, ids + count, [&](int32_t i) { total += weight(i); });
    const uint64_t wanted = sample_top_mass(how_.top_p, total);
    const Worse worse{{scores_}};
    std::make_heap(ids, ids + count, worse);  // the best one is at the front
    int32_t* end = ids + count;
    while (kept < wanted) {
      kept += weight(ids[0]);
      std::pop_heap(ids, end--, worse);
    }
    std::reverse(ids, ids + count);
    return ids + count - end;
  }

  // each(f) calls f(id) in ascending order.
  template <class Each>
  int32_t drawn(Each each) const {
    uint64_t total = 0, sum = 0;
    each([&](int64_t i) { total += weight(i); });
    const uint64_t wanted = sample_drawn_mass(how_.uniform, total);
    int64_t token = -1;
    each([&](int64_t i) {
      if (token >= 0) return;
      sum += weight(i);
      if (sum >= wanted) token = i;
    });
    return static_cast<int32_t>(token);
  }

  const float* scores_;
  int64_t columns_;
  const SampleRow& how_;
  double top_;
};

}  // namespace

int32_t sample_token(const float* scores, int64_t columns, const SampleRow& how, int32_t* ids) {
  const float top = largest(scores, columns);
  if (top == kNever) return -1;
  if (how.scale == 0 || !std::isfinite(top)) {
    return static_cast<int32_t>(std::find(scores, scores + columns, top) - scores);
  }
  const Draw draw(scores, columns, how, top);
  return how.top_k > 0 || how.top_p < 1 ? draw.of_best(ids) : draw.of_all();
}

void sample_rows(const SampleParams& params, const KernelContext& context) {
  static_assert(kMostSampled * sizeof(int32_t) <= kScratchBytesPerWorker);
  context.parallel.for_each(params.m, [&](int64_t i, int worker) {
    const SampleRow& how = params.rows[i];
    void* scratch = context.scratch + static_cast<size_t>(worker) * kScratchBytesPerWorker;
    params.tokens[how.row] = sample_token(params.logits + how.row * params.stride, params.columns,
                                          how, static_cast<int32_t*>(scratch));
  });
}

}  // namespace penstock
