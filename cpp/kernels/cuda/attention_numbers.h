// Caches as numbers that fp16 has exactly, so that tensor cores of every GPU take them: value =
// scale * number + bias. Scale and bias are a word of params, bf16, the scale in the low half.
//   kGroup                            elements of head_dim that share them
//   kBias                             whether there is a bias
//   kStagesKeys                       whether params of keys are staged, not in pages
//   stage(on, args, block, to)        params; of what no query sees, nothing
//   keys(from, d)                     A: 16 keys, 16 elements from d on
//   values(from, d)                   A: 16 elements from d on, of 16 tokens
#pragma once

#include "kernels/cuda/attention_tiles.h"

namespace penstock::cuda {

// Where params are staged: [key], [group][key].
struct StagedParams {
  uint32_t *keys, *values;
};
// 16 tokens, and what is staged or in pages of their params.
struct TokenBlock {
  const std::byte *codes, *params;
  int64_t code_bytes;  // of a token
  int lane;
};

// Codes of a quantised cache, those of 8 bits as signed numbers.
template <int kBits>
struct Codes {
  static constexpr int kGroup = kKvGroup;
  static constexpr bool kBias = kBits == 4, kStagesKeys = false;

  template <class Thread>
  PENSTOCK_DEVICE static void stage(const Thread& on, const AttentionArgs& args,
                                    const AttentionBlock& block, const StagedParams& to) {
    const SeenKeys keys(args, block);
    const int64_t count = blocks_of(args.view.head_dim, kGroup) * kAttentionSegment;
    for (int64_t i = on.thread(); i < count; i += on.threads()) {
      const int64_t key = i % kAttentionSegment, group = i / kAttentionSegment;
      const auto params = [&] {
        return load_word(TilePlace(args, block, true, key).params + group * 4 * kKeyBlock);
      };
      to.values[i] = keys.has(key) ? params() : 0;
    }
  }

  PENSTOCK_DEVICE static FragmentA keys(const TokenBlock& from, int64_t d) {
    constexpr int kWide = 32 / kBits;
    FragmentA a;
    for (int i = 0; i < 4; ++i) {
      const PlaceA place = place_a(from.lane, i);
      const int64_t at = d + 2 * place.word;
      const uint32_t word = load_word(from.codes + at / kWide * 4 * kKeyBlock + place.row * 4);
      const auto first = static_cast<uint32_t>(at % kWide);
      if constexpr (kBits == 8) {
        a.words[i] = numbers(two_bytes(word, first));
      } else {
        const uint32_t codes = word >> (first * 4);
        a.words[i] = numbers((codes & 0xfu) | (codes & 0xf0u) << 12 | (kBase & 0xff00ff00u));
      }
    }
    return a;
  }

  // A word holds a byte of four tokens.
  PENSTOCK_DEVICE static FragmentA values(const TokenBlock& from, int64_t d) {
    FragmentA a;
    for (int i = 0; i < 4; ++i) {
      const PlaceA place = place_a(from.lane, i);
      const int64_t token = 2 * place.word, at = d + place.row;
      const uint32_t word =
          load_word(from.codes + token / 4 * 4 * from.code_bytes + at * kBits / 8 * 4);
      const auto first = static_cast<uint32_t>(token % 4);
      if constexpr (kBits == 8) {
        a.words[i] = numbers(two_bytes(word, first));
      } else {
        a.words[i] = numbers(two_bytes(word >> (at % 2 * 4), first) & 0xff0fff0fu);
      }
    }
    return a;
  }

 private:
  static constexpr uint32_t kBase = 0x64646464u;  // 0x6400 + code is the fp16 of 1024 + code

  // Two bytes of a word, from `first` on, added to 1024.
  PENSTOCK_DEVICE static uint32_t two_bytes(uint32_t word, uint32_t first) {
    return select_bytes(word, kBase, 0x4140u + first * 0x0101u);
  }
  PENSTOCK_DEVICE static uint32_t numbers(uint32_t codes) {
    return add_whole_f16(codes, kBits == 8 ? 0xe480e480u : 0xe400e400u);  // -1152, -1024
  }
};

// bf16 where tensor cores take none: 8 bits times a power of two of each token and head, which
// brings its largest finite number to [2^14, 2^15). Numbers up to 2^31 times smaller are exact.
struct Bf16AsF16 {
  static constexpr int kGroup = kMostHeadDim;
  static constexpr bool kBias = false, kStagesKeys = true;

  template <class Thread>
  PENSTOCK_DEVICE static void stage(const Thread& on, const AttentionArgs& args,
                                    const AttentionBlock& block, const StagedParams& to) {
    stage_keys(on, args, block, to.keys);
    stage_values(on, args, block, to.values);
  }

  PENSTOCK_DEVICE static FragmentA keys(const TokenBlock& from, int64_t d) {
    FragmentA a;
    for (int i = 0; i < 4; ++i) {
      const PlaceA place = place_a(from.lane, i);
      const std::byte* at = from.codes + (d / 2 + place.word) * 4 * kKeyBlock;
      const float by = inverse(from, place.row);
      const uint32_t word = load_word(at + place.row * 4);
      a.words[i] = f16_pair(low_bf16(word) * by, high_bf16(word) * by);
    }
    return a;
  }

  // A word holds an element of two tokens. What no query of the block sees may be anything and
  // counts as 0.
  PENSTOCK_DEVICE static FragmentA values(const TokenBlock& from, int64_t d) {
    FragmentA a;
    for (int i = 0; i < 4; ++i) {
      const PlaceA place = place_a(from.lane, i);
      const int64_t token = 2 * place.word;
      const uint32_t word = load_word(from.codes + token * from.code_bytes + (d + place.row) * 4);
      const float first = inverse(from, token), second = inverse(from, token + 1);
      a.words[i] = f16_pair(first == kUnseen ? 0.0f : low_bf16(word) * first,
                            second == kUnseen ? 0.0f : high_bf16(word) * second);
    }
    return a;
  }

 private:
  static constexpr float kUnseen = 0x1p127f;  // inverse_power(0)

  PENSTOCK_DEVICE static float inverse(const TokenBlock& from, int64_t token) {
    return inverse_power(low_bf16(load_word(from.params + token * 4)));
  }
  PENSTOCK_DEVICE static uint32_t scale_for(uint32_t largest) {
    const auto bits = static_cast<int32_t>(largest << 16);
    return std::bit_cast<uint32_t>(power_of_two(f16_exponent(bits))) >> 16;
  }

  // Of each half.
  struct LargestHalves {
    PENSTOCK_DEVICE uint32_t operator()(uint32_t a, uint32_t b) const {
      const uint32_t low = at_least(a & 0xffffu, b & 0xffffu);
      return at_least(a >> 16, b >> 16) << 16 | low;
    }
  };
  // The largest finite magnitudes of the low and of the high halves of words.
  PENSTOCK_DEVICE static uint32_t largest_halves(const std::byte* first, int64_t stride,
                                                 int64_t count) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < count; ++i) {
      uint32_t word = load_word(first + i * stride) & 0x7fff7fffu;
      if ((word & 0xffffu) >= 0x7f80u) word &= 0xffff0000u;
      if (word >= 0x7f800000u) word &= 0xffffu;
      largest = LargestHalves{}(largest, word);
    }
    return largest;
  }

  // A thread a key.
  template <class Thread>
  PENSTOCK_DEVICE static void stage_keys(const Thread& on, const AttentionArgs& args,
                                         const AttentionBlock& block, uint32_t* scales) {
    const SeenKeys keys(args, block);
    for (int64_t key = on.thread(); key < kAttentionSegment; key += on.threads()) {
      scales[key] = 0;
      if (!keys.has(key)) continue;
      const std::byte* codes = TilePlace(args, block, false, key).codes;
      const uint32_t largest = largest_halves(codes, 4 * kKeyBlock, args.view.head_dim / 2);
      scales[key] = scale_for(at_least(largest & 0xffffu, largest >> 16));
    }
  }
  // A warp two tokens, which share words.
  template <class Thread>
  PENSTOCK_DEVICE static void stage_values(const Thread& on, const AttentionArgs& args,
                                           const AttentionBlock& block, uint32_t* scales) {
    const SeenKeys keys(args, block);
    const int lane = on.thread() % kWarp;
    for (int64_t key = on.thread() / kWarp * 2; key < kAttentionSegment;
         key += 2 * kAttentionWarps) {
      uint32_t largest = 0;
      if (keys.has(key) || keys.has(key + 1)) {
        const std::byte* codes = TilePlace(args, block, true, key).codes;
        largest = largest_halves(codes + lane * 4, 4 * kWarp,
                                 blocks_of(args.view.head_dim - lane, kWarp));
        largest = on.over_warp(largest, LargestHalves{});
      }
      if (lane >= 2) continue;
      const uint32_t own = lane == 0 ? largest & 0xffffu : largest >> 16;
      scales[key + lane] = keys.has(key + lane) ? scale_for(own) : 0;
    }
  }
};

}  // namespace penstock::cuda
