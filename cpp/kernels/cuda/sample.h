// Tokens from logits: a block a row. Best logits are found by a radix search, what is drawn by
// narrowing a range of indices; sums are of whole numbers, so the order of threads changes nothing.
#pragma once

#include "kernels/cuda/numeric.h"
#include "kernels/sample_weight.h"

namespace penstock::cuda {

inline constexpr int kSampleThreads = 512, kSamplePieces = kSampleThreads / kWarp;

struct alignas(16) SampleRoom {
  // Sums of amounts by bin, 13 bits of each at a time: kMostSampled of them do not overflow.
  uint32_t limbs[3][kSampleBins];
  uint64_t sums[kSamplePieces];
  uint32_t joined[kSamplePieces];  // of over_block
};

// A search through amounts in some order: where their sum reaches what is wanted.
struct SampleFound {
  int32_t index = 0;    // of the bin or piece
  uint64_t before = 0;  // the sum before it
  uint64_t at = 0;      // its own
  uint64_t total = 0;
};

template <class Thread>
class TokenDraw {
 public:
  PENSTOCK_DEVICE TokenDraw(const Thread& on, const SampleParams& p, const SampleRow& how)
      : on_(on),
        room_(*static_cast<SampleRoom*>(static_cast<void*>(on.shared()))),
        scores_(p.logits + how.row * p.stride),
        columns_(static_cast<int32_t>(p.columns)),
        how_(how),
        rate_(sample_bin_rate(how.scale)) {}

  PENSTOCK_DEVICE int32_t token() {
    const int32_t best = find_best();
    if (best < 0 || how_.scale == 0 || top_ == INFINITY) return best;
    if (how_.top_k > 0) cut<false>(static_cast<uint64_t>(how_.top_k));
    if (how_.top_p < 1) cut<true>(0);
    const auto mass = [this](int32_t i) { return kept(i) ? weight(i) : 0; };
    const Range all{0, columns_};
    const uint64_t wanted = sample_drawn_mass(how_.uniform, pieces(all, mass, 1).total);
    const SampleFound first = reached(wanted);
    return narrowed(piece_of(all, first.index), mass, wanted - first.before);
  }

 private:
  struct Range {
    int32_t begin, end;
  };

  // Every thread learns it: the lowest index of equals, -1 when there is none.
  PENSTOCK_DEVICE int32_t find_best() {
    float best = -INFINITY;
    int32_t index = INT32_MAX;
    for (int32_t i = on_.thread(); i < columns_; i += kSampleThreads) {
      if (!(scores_[i] > best)) continue;
      best = scores_[i];
      index = i;
    }
    auto* floats = static_cast<float*>(static_cast<void*>(room_.joined));
    top_ = over_block(on_, floats, best, Largest{});
    auto* words = static_cast<int32_t*>(static_cast<void*>(room_.joined));
    index = over_block(on_, words, best == top_ ? index : INT32_MAX, Smallest{});
    return top_ == -INFINITY ? -1 : index;
  }

  PENSTOCK_DEVICE uint64_t weight_of(float score) const {
    return sample_weight(score, SampleScale{top_, how_.scale, how_.floor});
  }
  PENSTOCK_DEVICE uint64_t weight(int32_t i) const { return weight_of(scores_[i]); }

  // A number that grows with the score; 0 and -0 are equals.
  PENSTOCK_DEVICE static uint32_t key_of(float score) {
    const auto bits = std::bit_cast<uint32_t>(score + 0.0f);
    return bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
  }
  PENSTOCK_DEVICE static float score_of(uint32_t key) {
    return std::bit_cast<float>(key ^ (key >> 31 != 0 ? 0x80000000u : 0xffffffffu));
  }
  PENSTOCK_DEVICE bool kept(int32_t i) const {
    const uint32_t key = key_of(scores_[i]);
    return key > least_key_ || (key == least_key_ && i <= last_equal_);
  }

  // Keeps the best ones: `wanted` of them, or as many as hold top_p of the mass. Bins by the
  // distance from the best score first, so that few threads meet, then a byte of the key at a time.
  template <bool kMass>
  PENSTOCK_DEVICE void cut(uint64_t wanted) {
    const auto amount = [this](int32_t i) -> uint64_t {
      const uint64_t mass = kept(i) ? weight(i) : 0;
      return kMass || mass == 0 ? mass : 1;
    };
    const auto by_distance = [this](int32_t i) { return bin(scores_[i]); };
    fill([](int32_t) { return true; }, by_distance, amount);
    SampleFound found = search(wanted, kMass);
    if (kMass) wanted = sample_top_mass(how_.top_p, found.total);
    if (found.total < wanted) return;
    const int32_t distance = found.index;
    uint64_t above = found.before;
    uint32_t key = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
      const auto here = [&](int32_t i) {
        const auto prefix = static_cast<uint64_t>(key_of(scores_[i])) >> (shift + 8);
        return bin(scores_[i]) == distance && prefix == key;
      };
      const auto by_byte = [&](int32_t i) {
        return static_cast<int32_t>(255 - (key_of(scores_[i]) >> shift & 255));
      };
      fill(here, by_byte, amount);
      found = search(wanted - above, false);
      above += found.before;
      key = key << 8 | static_cast<uint32_t>(255 - found.index);
    }
    keep_equals<kMass>(key, wanted - above, found.at);
  }

  // Of the logits with this key, which hold `at`, as many as hold `wanted`, those of lower index.
  template <bool kMass>
  PENSTOCK_DEVICE void keep_equals(uint32_t key, uint64_t wanted, uint64_t at) {
    const uint64_t each = kMass ? weight_of(score_of(key)) : 1;
    const uint64_t count = (wanted + each - 1) / each;
    int32_t last = INT32_MAX;
    if (count < at / each) {
      const auto equal = [&](int32_t i) -> uint64_t {
        return key_of(scores_[i]) == key && kept(i) ? 1 : 0;
      };
      last = narrowed({0, columns_}, equal, count);
    }
    if (key == least_key_ && last == INT32_MAX) return;  // all that were kept
    least_key_ = key;
    last_equal_ = last;
  }

  PENSTOCK_DEVICE int32_t bin(float score) const { return sample_bin(score, top_, rate_); }

  // The bins' sums of amounts of the logits that are here.
  template <class Here, class Bin, class Amount>
  PENSTOCK_DEVICE void fill(Here here, Bin bin_of, Amount amount) {
    on_.sync();  // the room may still be read
    for (int32_t i = on_.thread(); i < 3 * kSampleBins; i += kSampleThreads) {
      room_.limbs[i / kSampleBins][i % kSampleBins] = 0;
    }
    on_.sync();
    for (int32_t i = on_.thread(); i < columns_; i += kSampleThreads) {
      if (!here(i)) continue;
      uint64_t left = amount(i);
      for (int limb = 0; left != 0; ++limb, left >>= 13) {
        const auto part = static_cast<uint32_t>(left & 0x1fff);
        if (part != 0) on_.add_shared(&room_.limbs[limb][bin_of(i)], part);
      }
    }
    on_.sync();
  }

  PENSTOCK_DEVICE uint64_t sum_of(int32_t at) const {
    return room_.limbs[0][at] + (static_cast<uint64_t>(room_.limbs[1][at]) << 13) +
           (static_cast<uint64_t>(room_.limbs[2][at]) << 26);
  }

  // The bin with which the sum reaches `wanted`, or top_p of all.
  PENSTOCK_DEVICE SampleFound search(uint64_t wanted, bool top_p) {
    constexpr int32_t kEach = kSampleBins / kSamplePieces;
    if (on_.thread() < kSamplePieces) {
      uint64_t sum = 0;
      for (int32_t i = 0; i < kEach; ++i) sum += sum_of(on_.thread() * kEach + i);
      room_.sums[on_.thread()] = sum;
    }
    on_.sync();
    SampleFound found;
    for (const uint64_t sum : room_.sums) found.total += sum;
    if (top_p) wanted = sample_top_mass(how_.top_p, found.total);
    const SampleFound piece = reached(wanted);
    found.before = piece.before;
    found.index = piece.index * kEach;
    for (int32_t i = 0; i < kEach; ++i) {
      found.at = sum_of(found.index);
      if (found.before + found.at >= wanted || i == kEach - 1) break;
      found.before += found.at;
      ++found.index;
    }
    return found;
  }

  // Of room_.sums.
  PENSTOCK_DEVICE SampleFound reached(uint64_t wanted) const {
    SampleFound found;
    for (const uint64_t sum : room_.sums) found.total += sum;
    for (int32_t piece = 0; piece < kSamplePieces; ++piece) {
      found.index = piece;
      found.at = room_.sums[piece];
      if (found.before + found.at >= wanted || piece == kSamplePieces - 1) break;
      found.before += found.at;
    }
    return found;
  }

  PENSTOCK_DEVICE static Range piece_of(Range range, int32_t index) {
    const int32_t each = (range.end - range.begin + kSamplePieces - 1) / kSamplePieces;
    const int32_t begin = range.begin + index * each;
    return {begin, at_most(range.end, begin + each)};
  }

  // The range in pieces, a warp each.
  template <class Amount>
  PENSTOCK_DEVICE SampleFound pieces(Range range, Amount amount, uint64_t wanted) {
    const int32_t warp = on_.thread() / kWarp, lane = on_.thread() % kWarp;
    const Range own = piece_of(range, warp);
    uint64_t sum = 0;
    for (int32_t i = own.begin + lane; i < own.end; i += kWarp) sum += amount(i);
    uint64_t joined = 0;
    for (int shift = 0; shift < 64; shift += 16) {
      const auto part = static_cast<uint32_t>(sum >> shift & 0xffff);
      joined += static_cast<uint64_t>(on_.over_warp(part, Add{})) << shift;
    }
    on_.sync();  // the room may still be read
    if (lane == 0) room_.sums[warp] = joined;
    on_.sync();
    return reached(wanted);
  }

  // The first index with which the sum of amounts reaches `wanted`.
  template <class Amount>
  PENSTOCK_DEVICE int32_t narrowed(Range range, Amount amount, uint64_t wanted) {
    while (range.end - range.begin > 1) {
      const SampleFound found = pieces(range, amount, wanted);
      wanted -= found.before;
      range = piece_of(range, found.index);
    }
    return range.begin;
  }

  const Thread& on_;
  SampleRoom& room_;
  const float* scores_;
  int32_t columns_;
  const SampleRow& how_;
  float rate_;
  float top_ = 0;
  // What may be drawn: larger keys, and these of equal key.
  uint32_t least_key_ = 0;
  int32_t last_equal_ = INT32_MAX;
};

struct SampleKernel {
  static constexpr int kThreads = kSampleThreads;

  template <class Thread>
  PENSTOCK_DEVICE void operator()(const Thread& on, const SampleParams& p) const {
    const SampleRow& how = p.rows[on.block()];
    const int32_t token = TokenDraw<Thread>(on, p, how).token();
    if (on.thread() == 0) p.tokens[how.row] = token;
  }
};

}  // namespace penstock::cuda
