// Geometry and index maps of the weight-only products against naive models, and the emulator's
// asynchronous copies.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "kernels/cuda/launch.h"
#include "support/kernels.h"
#include "support/noting_launcher.h"

namespace penstock {
namespace {

using cuda::kStripedRows;
using cuda::kWarp;
using cuda::kWeightOnlyThreads;

constexpr int64_t kRoom = test::NotingLauncher::kRoom;

TEST(CudaWeightOnly, StripesFollowFromKAndCoverIt) {
  for (int64_t k = 1; k < 40000; k += k < 1200 ? 1 : 577) {
    const cuda::KStripes stripes = cuda::k_stripes(k);
    const int64_t steps = cuda::blocks_of(k, cuda::kStripedStep);
    ASSERT_GE(stripes.steps * stripes.count, steps) << k;
    ASSERT_LT(stripes.steps * (stripes.count - 1), steps) << k;  // none is empty
    ASSERT_LE(stripes.count, 8);
    ASSERT_GE(stripes.count, 1);
  }
  EXPECT_EQ(cuda::k_stripes(512).count, 1);
  EXPECT_EQ(cuda::k_stripes(1024).count, 2);
  EXPECT_EQ(cuda::k_stripes(4096).count, 8);
  EXPECT_EQ(cuda::k_stripes(14336).steps * cuda::kStripedStep, 1792);
}

TEST(CudaWeightOnly, TilesFollowFromTheInputRows) {
  for (int64_t m = 1; m <= 300; ++m) {
    const cuda::StripedPlan plan = cuda::weight_only_plan({m, 4096, 8}, kRoom);
    EXPECT_EQ(plan.tiles, m <= 8 ? 1 : (m <= 16 ? 2 : (m <= 32 ? 4 : 8)));
    EXPECT_EQ(plan.input_blocks, m <= 64 ? 1 : (m + 63) / 64);
    EXPECT_EQ(plan.stripes.count, 8);  // whatever m
  }
}

TEST(CudaWeightOnly, WorkspaceIsBoundedAndOnlyOfSplitLaunches) {
  int split = 0;
  for (const int64_t k : {64, 1000, 4096, 28672}) {
    for (int64_t row_blocks = 1; row_blocks < 300; ++row_blocks) {
      for (const int64_t m : {1, 8, 16, 33, 64, 65, 130, 4096}) {
        const cuda::StripedPlan plan = cuda::weight_only_plan({m, k, row_blocks}, kRoom);
        const int64_t whole = row_blocks * plan.input_blocks;
        ASSERT_LE(plan.workspace_bytes(), kRoom);
        ASSERT_EQ(plan.blocks(), whole * (plan.split ? plan.stripes.count : 1));
        ASSERT_EQ(plan.workspace_bytes(),
                  plan.split ? plan.stripes.count * m * row_blocks * kStripedRows * 4 : 0);
        ASSERT_FALSE(plan.split && (whole >= 132 || k < 1024));
        split += plan.split ? 1 : 0;
      }
    }
  }
  EXPECT_GT(split, 0);
  // A square weight of a small model fills a large GPU, and its sums take 8 MiB at most.
  const cuda::StripedPlan plan = cuda::weight_only_plan({64, 4096, 4096 / kStripedRows}, kRoom);
  EXPECT_EQ(plan.blocks(), 256);
  EXPECT_EQ(plan.workspace_bytes(), int64_t{8} << 20);
  EXPECT_FALSE(cuda::weight_only_plan({64, 4096, 4096 / kStripedRows}, 8000).split);
}

// Notes what is launched.
struct NotingLauncher : test::NotingLauncher {
  int weight_only = 0, added = 0, plain = 0, other = 0;
  int64_t blocks = 0;
  bool partial = false;

  template <class Kernel, class Args>
  void launch(const cuda::LaunchShape& shape, const Args& args) {
    note(Kernel{});
    if constexpr (std::is_same_v<Args, cuda::WeightOnlyArgs>) {
      EXPECT_EQ(args.partial, args.split ? room : nullptr);
      partial = args.split;
    }
    blocks += shape.blocks;
  }

  template <int kBits, int kTiles>
  void note(cuda::GemmWeightOnlyKernel<kBits, kTiles>) {
    weight_only = kBits * 100 + kTiles;
  }
  void note(cuda::AddStripesKernel) { ++added; }
  void note(cuda::GemmFloatKernel) { ++plain; }
  template <class Other>
  void note(Other) {
    ++other;
  }
};

TEST(CudaWeightOnly, TakesQuantisedWeightsWithInputsOf16Bits) {
  const WeightPanel panels[] = {{nullptr, 0, 16}, {nullptr, 16, 300}};
  GemmParams p;
  p.panels = panels;
  p.panel_count = 2;
  p.k = 1100;
  p.input = prepared_layout(InputKind::bf16, p.k, 0);
  struct Case {
    const char* format;
    int64_t m;
    int kernel;
  };
  for (const Case& c : {Case{"int4-g64", 1, 401},
                        {"int4-g32", 9, 402},
                        {"int8", 32, 804},
                        {"int8-g128", 33, 808},
                        {"int4-g128", 200, 408}}) {
    p.format = weight_format(c.format);
    p.m = c.m;
    NotingLauncher launcher;
    cuda::run(launcher, p);
    EXPECT_EQ(launcher.weight_only, c.kernel);
    EXPECT_EQ(launcher.added, 1);
    EXPECT_EQ(launcher.plain + launcher.other, 0);
    const cuda::StripedPlan plan = cuda::weight_only_plan({c.m, p.k, 1 + 3}, kRoom);
    EXPECT_EQ(launcher.blocks, plan.blocks() + 4 * c.m);
    EXPECT_TRUE(launcher.partial);
    NotingLauncher turing;
    turing.tiles = false;
    cuda::run(turing, p);
    EXPECT_EQ(turing.plain, 1);
    EXPECT_EQ(turing.weight_only + turing.added + turing.other, 0);
  }
}

// Every code of a block's step is of one thread's chunk, at the row and k that the fragments take
// it for. The packed layout is that of tensor/format.h, written out anew.
template <int kBits>
void expect_codes_cover_a_step() {
  std::map<std::tuple<int, int>, int> seen;  // row of the block, k of the step
  for (int thread = 0; thread < kWeightOnlyThreads; ++thread) {
    const int lane = thread % kWarp, tile = cuda::first_row(thread) / kTileRows;
    for (int chunk = 0; chunk < kBits / 2; ++chunk) {
      const int begin = cuda::code_offset<kBits>(lane, chunk);
      ASSERT_EQ(begin % 16, 0);
      for (int byte = begin; byte < begin + 16; ++byte) {
        const int row = byte / 4 % kTileRows, word = byte / 4 / kTileRows;
        ASSERT_EQ(tile * kTileRows + row, cuda::first_row(thread) + (byte - begin) / 4);
        const int half = kBits == 4 ? chunk : chunk / 2;
        for (int nibble = 0; nibble < 8 / kBits; ++nibble) {
          const int k = kBits == 8 ? word * 4 + byte % 4 : word * 8 + nibble * 4 + byte % 4;
          const int of_thread = k - half * cuda::kHalfStep - cuda::first_k(lane);
          ASSERT_GE(of_thread, 0);
          ASSERT_LT(of_thread, 8);
          const int part = kBits == 4 ? nibble : chunk % 2;  // which product of 16 k
          ASSERT_EQ(of_thread, part * 4 + byte % 4);
          ++seen[{tile * kTileRows + row, k}];
        }
      }
    }
  }
  EXPECT_EQ(seen.size(), size_t{kStripedRows * cuda::kStripedStep});
  for (const auto& [place, times] : seen) ASSERT_EQ(times, 1);
}
TEST(CudaWeightOnly, CodesOfAStepHaveOneThreadEach) {
  expect_codes_cover_a_step<4>();
  expect_codes_cover_a_step<8>();
}

// Widened codes stand where the fragments want them: word i of A is of the thread's row i % 2 of
// the two, its k those of words i / 2 of the inputs.
TEST(CudaWeightOnly, WidenedCodesAreTheirDifferences) {
  test::emulate({1, kWarp, 0}, 1, [&](const test::EmulatedThread& on) {
    cuda::Chunk codes;  // row r, k: code (3 r + 5 k) % 16
    uint32_t minus[cuda::kThreadRows];
    for (uint32_t r = 0; r < 4; ++r) {
      codes.words[r] = 0;
      for (uint32_t k = 0; k < 8; ++k) {
        codes.words[r] |= (3 * r + 5 * k) % 16 << (k % 4 * 8 + (k < 4 ? 0 : 4));
      }
      minus[r] = 0xc300c300u | (r + 6) * 0x10001u;
    }
    cuda::WeightFragments found;
    cuda::widen_codes(on, codes, minus, found);
    for (uint32_t r = 0; r < 4; ++r) {
      for (uint32_t k = 0; k < 8; ++k) {
        const uint32_t word = found.a[r / 2][k / 4].words[r % 2 + k % 4 / 2 * 2];
        const float value = k % 2 == 0 ? cuda::low_bf16(word) : cuda::high_bf16(word);
        const int code = static_cast<int>((3 * r + 5 * k) % 16);
        ASSERT_EQ(value, static_cast<float>(code - static_cast<int>(r + 6)));
      }
    }
  });
  for (uint32_t code = 0; code < 256; ++code) {
    for (const int zero : {0, 1, 127, 128, 255}) {
      uint32_t low = 0, high = 0;
      cuda::widen_word(code | 7u << 8 | 255u << 16 | code << 24,
                       8388608.0f + static_cast<float>(zero), low, high);
      const int c = static_cast<int>(code);
      ASSERT_EQ(cuda::low_bf16(low), static_cast<float>(c - zero));
      ASSERT_EQ(cuda::high_bf16(low), static_cast<float>(7 - zero));
      ASSERT_EQ(cuda::low_bf16(high), static_cast<float>(255 - zero));
      ASSERT_EQ(cuda::high_bf16(high), static_cast<float>(c - zero));
    }
  }
}

TEST(CudaWeightOnly, StagedInputsLieApartAndReadWithoutBankConflicts) {
  std::set<int> places;
  for (int row = 0; row < 64; ++row) {
    for (int chunk = 0; chunk < 8; ++chunk) {
      const int at = cuda::input_offset(row, chunk);
      ASSERT_EQ(at % 16, 0);
      ASSERT_LT(at, 64 * cuda::kStripedStep * 2);
      places.insert(at);
    }
  }
  EXPECT_EQ(places.size(), size_t{64 * 8});
  for (int half = 0; half < 2; ++half) {
    for (int quarter = 0; quarter < kWarp; quarter += 8) {  // lanes that read 16 bytes together
      std::set<int> banks;
      for (int lane = quarter; lane < quarter + 8; ++lane) {
        banks.insert(cuda::input_offset(lane / 4, half * 4 + lane % 4) / 16 % 8);
      }
      EXPECT_EQ(banks.size(), 8u);
    }
  }
}

TEST(CudaWeightOnly, GroupsOfK) {
  for (const int64_t group : {32, 64, 128}) {
    const int shift = cuda::group_shift({.group = group});
    for (int k = 0; k < 1000; ++k) ASSERT_EQ(k >> shift, k / group);
  }
  for (const int64_t row : {1, 100, 256, 4096, 14336}) {
    EXPECT_EQ(1000000 >> cuda::group_shift({.group = row}), 0);
  }
}

TEST(CudaWeightOnly, StagesFitTheSharedMemoryOfEveryGpu) {
  constexpr size_t kSmallest = 99 << 10;  // of a block, in compute capability 8.6, 8.9 and 12.0
  EXPECT_LE((cuda::GemmWeightOnlyKernel<4, 1>::kShared), kSmallest);
  EXPECT_LE((cuda::GemmWeightOnlyKernel<4, 2>::kShared), kSmallest);
  EXPECT_LE((cuda::GemmWeightOnlyKernel<4, 8>::kShared), kSmallest);
  EXPECT_LE((cuda::GemmWeightOnlyKernel<8, 1>::kShared), kSmallest);
  EXPECT_LE((cuda::GemmWeightOnlyKernel<8, 2>::kShared), kSmallest);
  EXPECT_LE((cuda::GemmWeightOnlyKernel<8, 8>::kShared), kSmallest);
}

// ---- the emulator's asynchronous copies --------------------------------------------------------

constexpr uint32_t kPoison = 0xffffffffu;

struct alignas(16) Words {
  uint32_t words[64 * 4];
};

TEST(SimtEmulator, ACopyIsThereAfterTheWaitForItsGroupAndNotBefore) {
  Words from;
  for (uint32_t i = 0; i < 256; ++i) from.words[i] = i;
  std::vector<uint32_t> found;
  test::emulate({1, 32, 64}, 1, [&](const test::EmulatedThread& on) {
    if (on.thread() != 5) return;
    const auto* source = static_cast<const std::byte*>(static_cast<const void*>(from.words));
    const auto look = [&](int chunk) {
      found.push_back(cuda::load_word(on.shared() + chunk * 16));
    };
    for (int chunk = 0; chunk < 4; ++chunk) cuda::store(on.shared() + chunk * 16, 77u);
    on.copy_async(on.shared(), source + 16);
    on.copy_async(on.shared() + 16, source + 32);
    on.wait_copies<0>();  // for nothing: the group has not ended
    look(0);
    on.commit_copies();
    on.copy_async(on.shared() + 32, source + 48);
    on.commit_copies();
    look(1);
    on.wait_copies<1>();
    for (const int chunk : {0, 1, 2, 3}) look(chunk);
    on.wait_copies<0>();
    look(2);
  });
  EXPECT_EQ(found, (std::vector<uint32_t>{kPoison, kPoison, 4, 8, kPoison, 77, 12}));
}

// Every thread reads what the thread opposite copied.
bool reads_all(bool with_wait, bool with_barrier, uint64_t seed) {
  Words from;
  for (uint32_t& word : from.words) word = 9;
  bool all = true;
  test::emulate({1, 64, 64 * 16}, seed, [&](const test::EmulatedThread& on) {
    const auto* source = static_cast<const std::byte*>(static_cast<const void*>(from.words));
    on.copy_async(on.shared() + on.thread() * 16, source + on.thread() * 16);
    on.commit_copies();
    if (with_wait) on.wait_copies<0>();
    if (with_barrier) on.sync();
    all = all && cuda::load_word(on.shared() + (63 - on.thread()) * 16) == 9;
    on.wait_copies<0>();
  });
  return all;
}

TEST(SimtEmulator, AMissingWaitOrBarrierOfACopyShows) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    EXPECT_TRUE(reads_all(true, true, seed));
    EXPECT_FALSE(reads_all(false, true, seed));
    EXPECT_FALSE(reads_all(true, false, seed));
  }
}

TEST(SimtEmulator, AThreadThatLeavesItsCopiesIsAnError) {
  Words from{};
  const auto leave = [&](const test::EmulatedThread& on) {
    on.copy_async(on.shared(), static_cast<const std::byte*>(static_cast<const void*>(&from)));
    on.commit_copies();
  };
  EXPECT_THROW(test::emulate({1, 32, 16}, 1, leave), Error);
}

}  // namespace
}  // namespace penstock
