// Geometry and index maps of the products of 16 bits against naive models, and what they launch.
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "kernels/cuda/launch.h"
#include "support/kernels.h"
#include "support/noting_launcher.h"

namespace penstock {
namespace {

using cuda::kStripedRows;
using cuda::kWarp;

constexpr int64_t kRoom = int64_t{32} << 20;  // of workspace

TEST(CudaHalf, TheTileFollowsFromTheInputRows) {
  for (int64_t m = 1; m <= 700; ++m) {
    const cuda::StripedPlan plan = cuda::half_plan({m, 4096, 8}, kRoom);
    EXPECT_EQ(plan.tiles * 8, m <= 8 ? 8 : (m <= 32 ? 32 : (m <= 64 ? 64 : 128)));
    EXPECT_EQ(plan.input_blocks, m <= 128 ? 1 : (m + 127) / 128);
    EXPECT_EQ(plan.stripes.count, 8);  // whatever m
    EXPECT_LE(plan.workspace_bytes(), kRoom);
  }
  EXPECT_TRUE(cuda::half_plan({1, 8192, 64}, kRoom).split);  // 64 blocks otherwise
  EXPECT_FALSE(cuda::half_plan({1, 8192, 224}, kRoom).split);
  EXPECT_FALSE(cuda::half_plan({1, 8192, 64}, 200 << 10).split);  // 256 KiB of sums
  EXPECT_FALSE(cuda::half_plan({1024, 8192, 64}, kRoom).split);
}

TEST(CudaHalf, GroupedBlocksAreAllBlocksOnce) {
  for (const int64_t row_blocks : {1, 3, 64, 223}) {
    for (const int64_t input_blocks : {1, 2, 7, 8, 9, 17}) {
      std::set<int64_t> seen;
      for (int64_t i = 0; i < row_blocks * input_blocks; ++i) {
        seen.insert(cuda::grouped_block(i, row_blocks, input_blocks));
      }
      EXPECT_EQ(seen.size(), static_cast<size_t>(row_blocks * input_blocks));
      EXPECT_EQ(*seen.begin(), 0);
      EXPECT_EQ(*seen.rbegin(), row_blocks * input_blocks - 1);
    }
  }
}

// Of 128 blocks in a row, one a multiprocessor: 16 of weights by 8 of inputs.
TEST(CudaHalf, BlocksSideBySideShareRows) {
  std::set<int64_t> rows, inputs;
  for (int64_t i = 256; i < 384; ++i) {
    const int64_t at = cuda::grouped_block(i, 224, 16);
    rows.insert(at % 224);
    inputs.insert(at / 224);
  }
  EXPECT_EQ(rows.size(), 16u);
  EXPECT_EQ(inputs.size(), 8u);
}

TEST(CudaHalf, StagedRowsLieApartAndAreReadAndWrittenWithoutBankConflicts) {
  std::set<int> places;
  for (int row = 0; row < 128; ++row) {
    std::set<int> banks;
    for (int chunk = 0; chunk < 8; ++chunk) {  // lanes that write together
      const int at = cuda::staged_offset(row, chunk);
      ASSERT_EQ(at % 16, 0);
      ASSERT_LT(at, 128 * cuda::kStripedStep * 2);
      places.insert(at);
      banks.insert(at / 16 % 8);
    }
    ASSERT_EQ(banks.size(), 8u);
  }
  EXPECT_EQ(places.size(), size_t{128 * 8});
  for (int half = 0; half < 2; ++half) {
    for (int quarter = 0; quarter < kWarp; quarter += 8) {  // lanes that read together
      std::set<int> banks;
      for (int lane = quarter; lane < quarter + 8; ++lane) {
        banks.insert(cuda::staged_offset(lane / 4, half * 4 + lane % 4) / 16 % 8);
      }
      EXPECT_EQ(banks.size(), 8u);
    }
  }
}

TEST(CudaHalf, SumsLieApartAndAreLeftAndTakenWithoutBankConflicts) {
  std::set<int> places;
  for (int input = 0; input < 128; ++input) {
    for (int row = 0; row < kStripedRows; ++row) places.insert(cuda::sum_offset(row, input));
  }
  EXPECT_EQ(places.size(), size_t{128} * kStripedRows);
  EXPECT_EQ(*places.begin(), 0);
  EXPECT_EQ(*places.rbegin(), 128 * kStripedRows * 4 - 4);
  for (int i = 0; i < 4; ++i) {
    for (int tile = 0; tile < 8; ++tile) {
      std::set<int> left, taken;
      for (int lane = 0; lane < kWarp; ++lane) {
        const cuda::PlaceSum place = cuda::place_sum(lane, i);
        left.insert(cuda::sum_offset(tile * 16 + place.row, tile * 8 + place.column) / 4 % 32);
        taken.insert(cuda::sum_offset(i * 32 + lane, tile) / 4 % 32);
      }
      EXPECT_EQ(left.size(), size_t{kWarp});
      EXPECT_EQ(taken.size(), size_t{kWarp});
    }
  }
}

// Notes what is launched.
struct NotingLauncher : test::NotingLauncher {
  DType weights = DType::f32, inputs = DType::f32;
  int input_rows = 0, stages = 0, added = 0, plain = 0, other = 0;
  cuda::LaunchShape shape{};

  template <class Kernel, class Args>
  void launch(const cuda::LaunchShape& launched, const Args& args) {
    note(Kernel{});
    if constexpr (std::is_same_v<Args, cuda::HalfArgs>) {
      EXPECT_EQ(args.partial, args.split ? room : nullptr);
      shape = launched;
      stages = args.stages;
    }
  }

  template <DType kWeights, DType kInputs, int kInputRows>
  void note(cuda::GemmHalfKernel<kWeights, kInputs, kInputRows>) {
    weights = kWeights;
    inputs = kInputs;
    input_rows = kInputRows;
  }
  void note(cuda::AddStripesKernel) { ++added; }
  void note(cuda::GemmFloatKernel) { ++plain; }
  template <class Other>
  void note(Other) {
    ++other;
  }
};

constexpr WeightPanel kPanels[] = {{nullptr, 0, 16}, {nullptr, 16, 300}};
GemmParams params(const char* weights, InputKind inputs, int64_t m) {
  GemmParams p;
  p.panels = kPanels;
  p.panel_count = 2;
  p.format = weight_format(weights);
  p.m = m;
  p.k = 1100;
  p.input = prepared_layout(inputs, p.k, 0);
  return p;
}

TEST(CudaHalf, TakesWeightsOf16BitsWithInputsOf16Bits) {
  struct Case {
    const char* weights;
    InputKind inputs;
    int64_t m;
    int input_rows;
  };
  for (const Case& c : {Case{"fp16", InputKind::f16, 8, 8},
                        {"fp16", InputKind::f16, 300, 128},
                        {"bf16", InputKind::bf16, 9, 32},
                        {"bf16", InputKind::f16, 33, 64}}) {
    for (const bool tiles : {true, false}) {
      NotingLauncher launcher;
      launcher.tiles = tiles;
      cuda::run(launcher, params(c.weights, c.inputs, c.m));
      if (!tiles && c.inputs == InputKind::bf16) {  // Turing has no such tensor cores
        EXPECT_EQ(launcher.plain, 1);
        EXPECT_EQ(launcher.input_rows, 0);
        continue;
      }
      EXPECT_EQ(dtype_name(launcher.weights), c.weights);
      EXPECT_EQ(launcher.inputs, c.inputs == InputKind::f16 ? DType::f16 : DType::bf16);
      EXPECT_EQ(launcher.input_rows, c.input_rows);
      EXPECT_EQ(launcher.added, 1);
      EXPECT_EQ(launcher.plain + launcher.other, 0);
      EXPECT_EQ(launcher.shape.blocks, cuda::half_plan({c.m, 1100, 1 + 3}, kRoom).blocks());
      EXPECT_EQ(launcher.shape.threads, c.input_rows == 128 ? 256 : 128);
      EXPECT_EQ(launcher.stages, tiles ? (c.input_rows <= 32 ? 4 : 3) : 2);
    }
  }
  NotingLauncher launcher;
  cuda::run(launcher, params("fp16", InputKind::f32, 5));  // compute="exact"
  EXPECT_EQ(launcher.plain, 1);
  for (const char* weights : {"fp32", "int8"}) {
    EXPECT_THROW(cuda::run(launcher, params(weights, InputKind::f16, 5)), Error);
  }
}

TEST(CudaHalf, StagesFitTheSharedMemoryOfEveryGpu) {
  constexpr size_t kTuring = size_t{64} << 10;    // of a block
  constexpr size_t kSmallest = size_t{99} << 10;  // in compute capability 8.6, 8.9 and 12.0
  for (const int64_t m : {1, 32, 64, 128}) {
    NotingLauncher launcher;
    cuda::run(launcher, params("fp16", InputKind::f16, m));
    EXPECT_LE(launcher.shape.shared_bytes, kSmallest);
    EXPECT_EQ(launcher.shape.shared_bytes,
              static_cast<size_t>(launcher.stages * (kStripedRows + launcher.input_rows) * 128));
    launcher.tiles = false;
    cuda::run(launcher, params("fp16", InputKind::f16, m));
    EXPECT_LE(launcher.shape.shared_bytes, kTuring);
  }
}

TEST(CudaHalf, EveryBf16NumberBecomesTheNearestFp16) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = float_from_bf16(static_cast<uint16_t>(bits));
    const uint32_t pair = cuda::f16_from_bf16(bits | 0x3f80u << 16);
    ASSERT_EQ(pair >> 16, 0x3c00u);  // 1
    const float found = float_from_f16(static_cast<uint16_t>(pair));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(found));
    } else if (std::abs(value) > 65504.0f) {
      ASSERT_EQ(found, std::copysign(65504.0f, value));
    } else {  // a multiple of 2^-24 at most half of it away; 8 bits are kept above
      const float step = std::abs(value) < 0x1p-17f ? 0x1p-25f : 0.0f;
      ASSERT_LE(std::abs(found - value), step) << value;
    }
  }
}

}  // namespace
}  // namespace penstock
