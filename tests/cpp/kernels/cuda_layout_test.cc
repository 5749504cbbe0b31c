// The index arithmetic of the CUDA kernels against naive models, and the emulator that the other
// tests trust.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>

#include "kernels/cuda/launch.h"
#include "support/kernels.h"

namespace penstock {
namespace {

using cuda::kWarp;

TEST(CudaFragments, EveryElementHasOneLane) {
  std::set<std::pair<int, int>> a, b, sums;
  for (int lane = 0; lane < kWarp; ++lane) {
    for (int i = 0; i < 4; ++i) {
      a.insert({cuda::place_a(lane, i).row, cuda::place_a(lane, i).word});
      sums.insert({cuda::place_sum(lane, i).row, cuda::place_sum(lane, i).column});
    }
    for (int i = 0; i < 2; ++i) {
      b.insert({cuda::place_b(lane, i).word, cuda::place_b(lane, i).column});
    }
  }
  EXPECT_EQ(a.size(), size_t{16 * 8});
  EXPECT_EQ(b.size(), size_t{8 * 8});
  EXPECT_EQ(sums.size(), size_t{16 * 8});
  EXPECT_EQ(a.rbegin()->first, 15);
  EXPECT_EQ(b.rbegin()->second, 7);
}

// PTX: in m16n8k32 with 8-bit elements, element i of the 16 of a lane's A is of row groupID for i
// in [0, 4) and [8, 12), groupID + 8 otherwise, and of column threadID_in_group * 4 + i % 4, 16
// more from i = 8 on; of B, row threadID_in_group * 4 + i % 4, 16 more from i = 4 on, column
// groupID.
TEST(CudaFragments, AreThoseOfTheInstructionSet) {
  for (int lane = 0; lane < kWarp; ++lane) {
    const int group = lane / 4, in_group = lane % 4;
    for (int i = 0; i < 16; ++i) {
      const bool upper = i < 4 || (i >= 8 && i < 12);
      const cuda::PlaceA place = cuda::place_a(lane, i / 4);
      EXPECT_EQ(place.row, upper ? group : group + 8);
      EXPECT_EQ(place.word * 4 + i % 4, in_group * 4 + i % 4 + (i >= 8 ? 16 : 0));
    }
    for (int i = 0; i < 8; ++i) {
      const cuda::PlaceB place = cuda::place_b(lane, i / 4);
      EXPECT_EQ(place.word * 4 + i % 4, in_group * 4 + i % 4 + (i >= 4 ? 16 : 0));
      EXPECT_EQ(place.column, group);
    }
  }
}

TEST(CudaKv, PlacesAreThoseOfTheLayout) {
  for (const std::string_view name : {"fp32", "fp16", "bf16", "int8", "int4"}) {
    for (const int dim : {64, 80, 33}) {
      const KvLayout layout{kv_format(name), 3, dim, 32};
      const KvView view = kv_view(layout);
      for (int token = 0; token < 32; ++token) {
        for (const bool value : {false, true}) {
          const KvPlace expected = layout.place(value, 2, token);
          const KvPlace found = cuda::kv_place(view, value, 2, token);
          EXPECT_EQ(found.codes, expected.codes);
          EXPECT_EQ(found.params, expected.params);
          EXPECT_EQ(found.stride, expected.stride);
          EXPECT_EQ(found.part_bytes, expected.part_bytes);
        }
      }
    }
  }
}

TEST(CudaGemm, BlocksCoverEveryPanelRowAndInputRowOnce) {
  const WeightPanel panels[] = {{nullptr, 0, 16}, {nullptr, 16, 144}, {nullptr, 144, 211}};
  GemmParams p;
  p.panels = panels;
  p.panel_count = 3;
  p.m = 130;
  int64_t row_blocks = 0;
  for (const WeightPanel& panel : panels) {
    row_blocks += cuda::blocks_of(panel.row_end - panel.row_begin, cuda::kBlockRows);
  }
  const cuda::GemmArgs args{p, {}, row_blocks};
  std::map<std::pair<int64_t, int64_t>, int> seen;
  for (int64_t i = 0; i < row_blocks * cuda::blocks_of(p.m, cuda::kBlockInputs); ++i) {
    const cuda::GemmBlock block(args, i);
    for (int64_t row = 0; row < block.rows; ++row) {
      for (int64_t input = 0; input < block.inputs; ++input) {
        ++seen[{block.panel->row_begin + block.row + row, block.input + input}];
      }
    }
  }
  EXPECT_EQ(seen.size(), size_t{211 * 130});
  for (const auto& [place, times] : seen) EXPECT_EQ(times, 1);
}

// ---- the emulator ------------------------------------------------------------------------------

// Every thread stores its number and reads that of the thread opposite.
std::vector<int> opposite(bool with_barrier, uint64_t seed) {
  std::vector<int> read(64, -7);
  test::emulate({1, 64, 64 * sizeof(int)}, seed, [&](const test::EmulatedThread& on) {
    auto* room = static_cast<int*>(static_cast<void*>(on.shared()));
    room[on.thread()] = on.thread();
    if (with_barrier) on.sync();
    read[static_cast<size_t>(on.thread())] = room[63 - on.thread()];
  });
  return read;
}

TEST(SimtEmulator, ABarrierOrdersAndItsLackShows) {
  std::vector<int> expected;
  for (int i = 0; i < 64; ++i) expected.push_back(63 - i);
  for (uint64_t seed = 0; seed < 8; ++seed) {
    EXPECT_EQ(opposite(true, seed), expected);
    EXPECT_NE(opposite(false, seed), expected);
  }
}

TEST(SimtEmulator, AReductionGivesEveryLaneTheSame) {
  std::vector<float> sums(32);
  test::emulate({1, 32, 0}, 3, [&](const test::EmulatedThread& on) {
    const float value = 1.0f / static_cast<float>(on.thread() + 3);
    sums[static_cast<size_t>(on.thread())] = on.over_warp(value, cuda::Add{});
  });
  float expected = 0;
  for (int i = 0; i < 32; ++i) expected += 1.0f / static_cast<float>(i + 3);
  for (const float sum : sums) EXPECT_EQ(sum, sums[0]);
  EXPECT_NEAR(sums[0], expected, 1e-6f);
}

TEST(SimtEmulator, MultipliesMatrices) {
  // A of bytes row + k, B of bytes k - column: sums by hand.
  std::vector<int32_t> found(16 * 8, -1);
  test::emulate({1, 32, 0}, 5, [&](const test::EmulatedThread& on) {
    const int lane = on.thread();
    cuda::FragmentA a{};
    cuda::FragmentB b{};
    for (int i = 0; i < 16; ++i) {
      const cuda::PlaceA place = cuda::place_a(lane, i / 4);
      const int value = place.row - (place.word * 4 + i % 4);
      a.words[i / 4] |= (static_cast<uint32_t>(value) & 255u) << (i % 4 * 8);
    }
    for (int i = 0; i < 8; ++i) {
      const cuda::PlaceB place = cuda::place_b(lane, i / 4);
      const int value = 3 * (place.word * 4 + i % 4) - 5 * place.column;
      b.words[i / 4] |= (static_cast<uint32_t>(value) & 255u) << (i % 4 * 8);
    }
    cuda::Fragment<int32_t> sums;
    on.multiply_s8(sums, a, b);
    for (int i = 0; i < 4; ++i) {
      const cuda::PlaceSum place = cuda::place_sum(lane, i);
      found[static_cast<size_t>(place.row * 8 + place.column)] = sums.sums[i];
    }
  });
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      int32_t expected = 0;
      for (int k = 0; k < 32; ++k) expected += (row - k) * (3 * k - 5 * column);
      EXPECT_EQ(found[static_cast<size_t>(row * 8 + column)], expected);
    }
  }
}

// The same of 16 bits: A of numbers (row - k) / 2, B of k / 4 - column.
template <class Encode, class Multiply>
void expect_product_of_16_bits(Encode encode, Multiply multiply) {
  std::vector<float> found(16 * 8, -1);
  test::emulate({1, 32, 0}, 7, [&](const test::EmulatedThread& on) {
    const int lane = on.thread();
    const auto number = [&](int value, float step) {
      return static_cast<uint32_t>(encode(static_cast<float>(value) * step));
    };
    cuda::FragmentA a{};
    cuda::FragmentB b{};
    for (int i = 0; i < 8; ++i) {
      const cuda::PlaceA place = cuda::place_a(lane, i / 2);
      a.words[i / 2] |= number(place.row - (place.word * 2 + i % 2), 0.5f) << (i % 2 * 16);
    }
    for (int i = 0; i < 4; ++i) {
      const cuda::PlaceB place = cuda::place_b(lane, i / 2);
      b.words[i / 2] |= number(place.word * 2 + i % 2 - 4 * place.column, 0.25f) << (i % 2 * 16);
    }
    cuda::Fragment<float> sums;
    for (float& sum : sums.sums) sum = 100.0f;
    multiply(on, sums, a, b);
    for (int i = 0; i < 4; ++i) {
      const cuda::PlaceSum place = cuda::place_sum(lane, i);
      found[static_cast<size_t>(place.row * 8 + place.column)] = sums.sums[i];
    }
  });
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      int expected = 800;
      for (int k = 0; k < 16; ++k) expected += (row - k) * (k - 4 * column);
      EXPECT_EQ(found[static_cast<size_t>(row * 8 + column)],
                static_cast<float>(expected) * 0.125f);
    }
  }
}

TEST(SimtEmulator, MultipliesMatricesOf16Bits) {
  expect_product_of_16_bits(f16_from_float, [](const auto& on, auto& sums, const auto& a,
                                               const auto& b) { on.multiply_f16(sums, a, b); });
  expect_product_of_16_bits(bf16_from_float, [](const auto& on, auto& sums, const auto& a,
                                                const auto& b) { on.multiply_bf16(sums, a, b); });
}

}  // namespace
}  // namespace penstock
