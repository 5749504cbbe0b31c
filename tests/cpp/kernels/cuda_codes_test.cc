// Geometry and index maps of the products with int8 inputs against naive models.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "kernels/cuda/launch.h"
#include "support/kernels.h"
#include "support/noting_launcher.h"

namespace penstock {
namespace {

using cuda::CodesPlan;
using cuda::kWarp;

constexpr int kCapabilities[] = {75, 80, 86, 89, 90, 100, 120};

cuda::CodesGpu gpu_of(int capability) {
  return {cuda::shared_room(capability), capability == 80 ? 108 : (capability < 80 ? 40 : 132)};
}

// Of one weight in one panel.
CodesPlan plan_for(const cuda::CodesSize& size, int64_t n, int capability) {
  return cuda::codes_plan(size, gpu_of(capability),
                          [&](int rows) { return cuda::blocks_of(n, rows); });
}
CodesPlan plan_of(int64_t m, int64_t n, int bits, int capability) {
  return plan_for({m, 4096, 64, bits}, n, capability);
}

TEST(CudaCodes, EveryPlanFitsItsGpu) {
  for (const int capability : kCapabilities) {
    const cuda::SharedRoom room = cuda::shared_room(capability);
    for (const int bits : {4, 8}) {
      for (int64_t m = 1; m <= 2100; m += m < 150 ? 1 : 150) {
        for (const int64_t n : {16, 4096, 8192, 28672, 262144}) {
          const CodesPlan plan = plan_of(m, n, bits, capability);
          const int64_t addends = cuda::all_addend_bytes(plan, {m, 4096, 64, bits});
          const int64_t bytes = plan.stages * plan.stage_bytes(bits);
          ASSERT_GE(plan.stages, 2);
          ASSERT_LE(bytes + addends, room.block);
          ASSERT_LE(plan.threads(), 256);
          ASSERT_TRUE(plan.stages <= 4 || plan.stages == 8);  // those that the kernel waits for
          // Sums leave through the same memory: of 64 input rows at most.
          if (plan.slices == 1) {
            ASSERT_LE(std::min(plan.inputs(), 64) * (plan.rows + 4) * 4, bytes);
          }
          ASSERT_EQ(plan.row_blocks, cuda::blocks_of(n, plan.rows));
          ASSERT_EQ(plan.input_blocks, cuda::blocks_of(m, plan.inputs()));
        }
      }
    }
  }
}

TEST(CudaCodes, TilesFollowFromTheInputRowsAndTheBlocks) {
  for (int64_t m = 1; m <= 64; ++m) {
    const CodesPlan plan = plan_of(m, 262144, 4, 90);
    EXPECT_EQ(plan.inputs(), m <= 8 ? 8 : (m <= 16 ? 16 : (m <= 32 ? 32 : 64)));
    EXPECT_EQ(plan.rows, 128);
    EXPECT_FALSE(plan.wide);
  }
  EXPECT_EQ(plan_of(9, 4096, 8, 90).rows, 32);
  EXPECT_EQ(plan_of(9, 4096, 8, 90).stages, 8);
  EXPECT_EQ(plan_of(64, 4096, 8, 90).rows, 64);  // not fewer weight rows than input rows
  EXPECT_EQ(plan_of(9, 8192, 8, 90).rows, 64);
  struct Case {
    int64_t m, n;
    int capability, inputs, rows;
  };
  for (const Case& c : {Case{1024, 8192, 90, 128, 256},
                        {512, 8192, 90, 128, 256},
                        {256, 8192, 90, 128, 128},
                        {128, 8192, 90, 64, 128},  // more blocks rather than large ones
                        {128, 32768, 90, 128, 256},
                        {1024, 8192, 89, 128, 128},  // 256 rows in two stages are too many there
                        {1024, 8192, 75, 64, 128}}) {
    const CodesPlan plan = plan_of(c.m, c.n, 8, c.capability);
    EXPECT_EQ(plan.inputs(), c.inputs) << c.m << " " << c.n;
    EXPECT_EQ(plan.rows, c.rows) << c.m << " " << c.n;
    EXPECT_EQ(plan.wide, c.inputs == 128);
  }
}

TEST(CudaCodes, RowsThatNoPanelHasAreNotAskedFor) {
  for (const int64_t panel : {16, 32, 64, 128, 256}) {
    const auto row_blocks = [&](int rows) { return 4096 / panel * cuda::blocks_of(panel, rows); };
    const auto rows = [&](int64_t m) {
      return cuda::codes_plan({m, 4096, 64, 8}, gpu_of(90), row_blocks).rows;
    };
    EXPECT_LE(rows(1), std::max<int64_t>(panel, 32));
    EXPECT_LE(rows(9), std::max<int64_t>(panel, 32));
    EXPECT_LE(rows(4096), std::max<int64_t>(panel, 64));
  }
}

TEST(CudaCodes, FewInputRowsByFewWeightRowsShareK) {
  struct Case {
    int64_t m, n, k;
    int slices;
  };
  for (const Case& c : {Case{1, 4096, 4096, 8},
                        {8, 4096, 4096, 8},
                        {9, 4096, 4096, 1},  // more than a tile of input rows
                        {1, 1024, 8192, 8},
                        {1, 4096, 1024, 8},
                        {1, 4096, 896, 4},  // every warp has a step
                        {1, 4096, 256, 2},
                        {1, 4096, 128, 1},
                        {1, 8192, 8192, 4},  // enough warps with four
                        {1, 28672, 8192, 4},
                        {1, 29696, 8192, 1},  // or with one for each 32 weight rows
                        {1, 152064, 8192, 1}}) {
    for (const int bits : {4, 8}) {
      const CodesPlan plan = plan_for({c.m, c.k, 64, bits}, c.n, 90);
      EXPECT_EQ(plan.slices, c.slices) << c.m << " " << c.n << " " << c.k;
      if (plan.slices == 1) continue;
      EXPECT_EQ(plan.rows, 32);
      EXPECT_EQ(plan.tiles, 1);
      EXPECT_EQ(plan.input_blocks, 1);
      EXPECT_GE(plan.stages, 2);
    }
  }
}

// A block that has a multiprocessor to itself may have its memory, others the half of it.
TEST(CudaCodes, SlicesFollowFromSharedMemory) {
  struct Case {
    int64_t m, block, n;
    int bits, capability, slices, stages;
  };
  for (const Case& c : {Case{1, 64, 4096, 4, 90, 8, 4},
                        {1, 128, 4096, 8, 90, 8, 4},
                        {8, 64, 4096, 8, 90, 8, 3},
                        {8, 32, 4096, 8, 90, 4, 4},  // much to be added
                        {1, 64, 5120, 8, 90, 8, 2},
                        {1, 64, 4096, 8, 80, 4, 3},
                        {1, 64, 4096, 8, 89, 8, 2},
                        {8, 32, 4096, 8, 75, 1, 4}}) {
    const CodesPlan plan = plan_for({c.m, 4096, c.block, c.bits}, c.n, c.capability);
    EXPECT_EQ(plan.slices, c.slices) << c.m << " " << c.block << " " << c.n << " " << c.capability;
    EXPECT_EQ(plan.stages, c.stages) << c.m << " " << c.block << " " << c.n << " " << c.capability;
    const bool alone = plan.blocks() <= gpu_of(c.capability).multiprocessors;
    const cuda::SharedRoom room = cuda::shared_room(c.capability);
    const int64_t bytes = plan.stages * plan.stage_bytes(c.bits) +
                          cuda::all_addend_bytes(plan, {c.m, 4096, c.block, c.bits});
    EXPECT_LE((bytes + 1024) * (alone ? 1 : 2), room.multiprocessor);
  }
}

// Lanes that store 16 bytes of addends together, a quarter of a warp, and those that load a word.
TEST(CudaCodes, AddendsLieApartAndMeetInNoBank) {
  for (const int inputs : {1, 2, 3, 5, 8}) {
    std::set<int> places;
    for (int side = 0; side < 2; ++side) {
      for (int quarter = 0; quarter < kWarp; quarter += 8) {
        std::set<int> banks;
        int stored = 0;
        for (int lane = quarter; lane < quarter + 8; ++lane) {
          const int input = cuda::place_sum(lane, side).column;
          if (input >= inputs) continue;
          ++stored;
          for (const bool dot : {false, true}) {
            const int at = cuda::addend_place(inputs, input, dot) + cuda::first_row(lane) * 4;
            ASSERT_EQ(at % 16, 0);
            ASSERT_LE(at + 16, cuda::addend_bytes(inputs));
            places.insert(at);
            if (!dot) banks.insert(at / 16 % 8);
          }
        }
        EXPECT_EQ(static_cast<int>(banks.size()), stored);
      }
    }
    EXPECT_EQ(static_cast<int>(places.size()), inputs * 2 * 32 / 4);
  }
}

TEST(CudaCodes, TwoBlocksLiveOnAMultiprocessorOrOneOfTheLargest) {
  for (const int64_t m : {9, 16, 64, 256, 1024}) {
    for (const int bits : {4, 8}) {
      const CodesPlan plan = plan_of(m, 8192, bits, 90);
      const int64_t bytes = plan.stages * plan.stage_bytes(bits) + 1024;
      const int blocks = static_cast<int>(cuda::shared_room(90).multiprocessor / bytes);
      EXPECT_GE(blocks * plan.rows, plan.rows == 256 ? 256 : 2 * plan.rows);
      EXPECT_GE(plan.stages, 3);
    }
  }
}

TEST(CudaCodes, BlocksAreThoseOfTheLaunchInputsFirst) {
  for (const int64_t rows : {1, 3, 10}) {
    for (const int64_t inputs : {1, 2, 7}) {
      std::set<int64_t> seen;
      for (int64_t i = 0; i < rows * inputs; ++i) {
        const int64_t block = cuda::codes_block(i, rows, inputs);
        EXPECT_EQ(block % rows, i / inputs);  // GemmBlock: rows change fastest
        EXPECT_EQ(block / rows, i % inputs);
        seen.insert(block);
      }
      EXPECT_EQ(static_cast<int64_t>(seen.size()), rows * inputs);
    }
  }
}

TEST(CudaCodes, PartsOfAStageHoldWhatTheyShould) {
  for (const int bits : {4, 8}) {
    for (const int inputs : {8, 16, 32, 64, 128}) {
      const cuda::InputPart part = cuda::input_part(bits, inputs);
      EXPECT_EQ(part.scales, inputs * 128);
      EXPECT_EQ(part.sums - part.scales, 4 * inputs * 4);
      EXPECT_EQ(part.bytes - part.sums, bits == 4 ? 4 * inputs * 4 : 0);
      EXPECT_EQ(part.bytes % 16, 0);
    }
    const cuda::PairPart part = cuda::pair_part(bits);
    EXPECT_EQ(part.scales, 32 * 128 * bits / 8);
    EXPECT_EQ(part.zeros - part.scales, 4 * 32 * 2);
    EXPECT_EQ(part.bytes - part.zeros, bits == 4 ? 4 * 32 : 0);
    EXPECT_EQ(part.bytes % 16, 0);
  }
}

TEST(CudaCodes, StagedInputsLieApartAndReadWithoutBankConflicts) {
  std::set<int> places;
  for (int row = 0; row < 128; ++row) {
    for (int chunk = 0; chunk < 8; ++chunk) {
      const int at = cuda::codes_place(row, chunk);
      ASSERT_EQ(at % 16, 0);
      ASSERT_LT(at, 128 * 128);
      places.insert(at);
    }
  }
  EXPECT_EQ(places.size(), size_t{128 * 8});
  for (int step = 0; step < 4; ++step) {
    for (int half = 0; half < kWarp; half += 16) {  // lanes that read 8 bytes together
      std::set<int> banks;
      for (int lane = half; lane < half + 16; ++lane) {
        banks.insert(cuda::lane_codes(lane / 4, step, lane) / 8 % 16);
      }
      EXPECT_EQ(banks.size(), 16u);
    }
  }
}

// The k of a staged row's byte: codes_place the other way round.
std::map<int, int> k_by_place(int row) {
  std::map<int, int> k;
  for (int at = 0; at < 128; ++at) k[cuda::codes_place(row, at / 16) + at % 16] = at;
  return k;
}

// A lane's words of weights and of inputs are of the same k, 32 a step. The packed layout is that
// of tensor/format.h, written out anew.
template <int kBits>
void expect_the_same_k() {
  for (int step = 0; step < 4; ++step) {
    std::set<int> all;
    for (int lane = 0; lane < kWarp; ++lane) {
      const std::map<int, int> k_of = k_by_place(lane / 4);
      for (int word = 0; word < 2; ++word) {
        const int chunk = kBits == 4 ? step : step * 2 + word;
        const int begin = cuda::code_offset<kBits>(lane, chunk);
        for (int byte = 0; byte < 4; ++byte) {
          const int stored = begin / 4 / kTileRows;
          const int k = kBits == 4 ? stored * 8 + word * 4 + byte : stored * 4 + byte;
          ASSERT_EQ(k_of.at(cuda::lane_codes(lane / 4, step, lane) + word * 4 + byte), k);
          ASSERT_EQ(k / 32, step);
          all.insert(k);
        }
      }
    }
    EXPECT_EQ(all.size(), 32u);
  }
}
TEST(CudaCodes, WeightsMeetInputsOfTheSameK) {
  expect_the_same_k<4>();
  expect_the_same_k<8>();
}

TEST(CudaCodes, GroupsOfBlocks) {
  for (const int64_t block : {32, 64, 128}) {
    for (int64_t group = block; group <= 128; group *= 2) {
      const int shift = cuda::block_group_shift(block, group);
      for (int b = 0; b < 100; ++b) ASSERT_EQ(b >> shift, b * block / group);
    }
    for (const int64_t row : {1100, 4096, 14336}) {
      EXPECT_EQ(100000 >> cuda::block_group_shift(block, row), 0);
    }
  }
}

// Notes what is launched.
struct NotingLauncher : test::NotingLauncher {
  int codes = 0, other = 0;
  cuda::LaunchShape shape;

  template <class Kernel, class Args>
  void launch(const cuda::LaunchShape& of, const Args&) {
    shape = of;
    note(Kernel{});
  }

  template <int kBits, int kPairs, int kTiles>
  void note(cuda::GemmCodesKernel<kBits, kPairs, kTiles>) {
    codes = kBits * 100 + kPairs * 10 + kTiles;
  }
  template <int kBits>
  void note(cuda::GemmCodesSlicedKernel<kBits>) {
    codes = kBits * 100;
  }
  template <class Other>
  void note(Other) {
    ++other;
  }
};

TEST(CudaCodes, TakesQuantisedWeightsWithInputsOf8Bits) {
  WeightPanel panels[] = {{nullptr, 0, 16}, {nullptr, 16, 30000}};
  GemmParams p;
  p.panels = panels;
  p.panel_count = 2;
  p.k = 1100;
  struct Case {
    const char* format;
    int64_t m;
    int kernel, rows;
    int64_t blocks;
  };
  for (const Case& c : {Case{"int4-g64", 1, 411, 128, 1 + 235},
                        {"int4-g32", 9, 412, 128, 1 + 235},
                        {"int8", 32, 814, 128, 1 + 235},
                        {"int8-g128", 33, 818, 128, 1 + 235},
                        {"int4-g128", 200, 428, 256, 2 * (1 + 118)},
                        {"int8-g32", 300, 828, 256, 3 * (1 + 118)}}) {
    SCOPED_TRACE(c.format);
    p.format = weight_format(c.format);
    p.input = prepared_layout_for(format(p.format), p.k, Compute::fast);
    p.m = c.m;
    NotingLauncher launcher;
    cuda::run(launcher, p);
    EXPECT_EQ(launcher.codes, c.kernel);
    EXPECT_EQ(launcher.other, 0);
    EXPECT_EQ(launcher.shape.threads, c.rows);
    EXPECT_EQ(launcher.shape.blocks, c.blocks);
    EXPECT_GT(launcher.shape.shared_bytes, 0u);
  }
  panels[1].row_end = 4096;
  p.m = 1;
  for (const char* name : {"int4-g64", "int8-g128"}) {
    p.format = weight_format(name);
    p.input = prepared_layout_for(format(p.format), p.k, Compute::fast);
    NotingLauncher launcher;
    cuda::run(launcher, p);
    EXPECT_EQ(launcher.codes, format(p.format).bits * 100);
    EXPECT_EQ(launcher.shape.threads, 256);
    EXPECT_EQ(launcher.shape.blocks, 1 + 128);
  }
}

// ---- the emulator's copies of words ------------------------------------------------------------

TEST(SimtEmulator, AWordIsCopiedAtTheWaitAndNothingBesideIt) {
  const uint32_t from[] = {5, 6, 7};
  std::vector<uint32_t> found;
  test::emulate({1, 32, 16}, 1, [&](const test::EmulatedThread& on) {
    if (on.thread() != 3) return;
    const auto* source = static_cast<const std::byte*>(static_cast<const void*>(from));
    for (int word = 0; word < 4; ++word) cuda::store(on.shared() + word * 4, 77u);
    on.copy_async_word(on.shared() + 4, source + 8);
    on.commit_copies();
    found.push_back(cuda::load_word(on.shared() + 4));
    on.wait_copies<0>();
    for (int word = 0; word < 4; ++word) {
      found.push_back(cuda::load_word(on.shared() + word * 4));
    }
  });
  EXPECT_EQ(found, (std::vector<uint32_t>{0xffffffffu, 77, 7, 77, 77}));
}

}  // namespace
}  // namespace penstock
