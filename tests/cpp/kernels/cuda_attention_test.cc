// How attention is cut for a GPU, against naive models: every key of every row is in one unit of
// the row's tile, launches stay within the workspace, tables within their room.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <typeindex>
#include <vector>

#include "kernels/cuda/launch.h"
#include "support/random.h"

namespace penstock {
namespace {

using cuda::AttentionArgs;
using cuda::AttentionCut;
using cuda::HeadCut;
using cuda::KeyRange;
using cuda::QueryTile;

TEST(CudaHeadCut, EveryHeadIsInOnePart) {
  for (const auto& [heads, kv_heads] :
       {std::pair{32, 32}, std::pair{32, 8}, std::pair{71, 1}, std::pair{64, 1}, std::pair{8, 2}}) {
    const HeadCut cut(heads, kv_heads);
    EXPECT_LE(cut.part, cuda::kTileQueries);
    EXPECT_EQ(cut.rows_of_tile() * cut.part <= cuda::kTileQueries, true);
    std::set<int> seen;
    for (int kv = 0; kv < kv_heads; ++kv) {
      for (int part = 0; part < cut.parts; ++part) {
        const int first = kv * cut.group + part * cut.part;
        for (int h = first; h < std::min(first + cut.part, (kv + 1) * cut.group); ++h) {
          EXPECT_TRUE(seen.insert(h).second);
        }
      }
    }
    EXPECT_EQ(static_cast<int>(seen.size()), heads);
  }
}

std::vector<SpanView> random_spans(test::Random& random) {
  std::vector<SpanView> spans(static_cast<size_t>(1 + random.below(6)));
  for (SpanView& span : spans) {
    span.position = static_cast<int32_t>(random.below(2000));
    span.count = static_cast<int32_t>(1 + random.below(random.below(2) ? 90 : 2));
    if (random.below(3) == 0) span.key_begin = static_cast<int32_t>(256 * random.below(5));
    if (random.below(3) == 0)
      span.key_end = span.key_begin + static_cast<int32_t>(256 * random.below(5));
  }
  return spans;
}

TEST(CudaAttentionCut, EveryKeyOfARowIsInOneUnitOfItsTile) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    test::Random random(seed);
    AttentionParams p;
    p.window = random.below(2) ? 0 : static_cast<int32_t>(1 + random.below(600));
    const std::vector<SpanView> spans = random_spans(random);
    const HeadCut heads(static_cast<int>(4 * (1 + random.below(12))), 4);
    const int32_t most = heads.rows_of_tile() >> random.below(2) | 1;
    const AttentionCut cut(p, spans, most);
    int32_t units = 0;
    std::map<std::pair<int, int>, int> tiles_of_row;  // (span, row)
    for (const QueryTile& tile : cut.tiles) {
      EXPECT_EQ(tile.first_unit, units);
      EXPECT_GE(tile.segments, 1);
      EXPECT_LE(tile.rows, most);
      EXPECT_LE(tile.rows, cut.tile_rows);
      units += tile.segments;
      const int64_t first = int64_t{tile.first_segment} * kAttentionSegment;
      const int64_t end = first + int64_t{tile.segments} * kAttentionSegment;
      for (int32_t row = tile.first_row; row < tile.first_row + tile.rows; ++row) {
        ++tiles_of_row[{tile.span, row}];
        const KeyRange keys(p, spans[static_cast<size_t>(tile.span)], row);
        if (keys.begin >= keys.end) continue;
        EXPECT_GE(keys.begin, first) << seed;
        EXPECT_LE(keys.end, end) << seed;
      }
    }
    EXPECT_EQ(units, cut.units);
    size_t rows = 0;
    for (size_t s = 0; s < spans.size(); ++s) {
      rows += static_cast<size_t>(spans[s].count);
      for (int32_t row = 0; row < spans[s].count; ++row) {
        EXPECT_EQ((tiles_of_row[{static_cast<int>(s), row}]), 1);
      }
    }
    EXPECT_EQ(cut.rows.size(), rows);
  }
}

TEST(CudaAttentionCut, LaunchesFitTheWorkspace) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    test::Random random(seed);
    KvLayout layout{kv_format("bf16"), static_cast<int>(1 + random.below(32)), 128, 32};
    AttentionParams p;
    p.heads = layout.kv_heads * static_cast<int>(1 + random.below(40));
    AttentionArgs args{
        .params = p, .view = kv_view(layout), .heads = HeadCut(p.heads, layout.kv_heads)};
    args.row_count = 1 + random.below(300);
    args.tile_rows = static_cast<int32_t>(1 + random.below(args.heads.rows_of_tile()));
    const size_t room = size_t{1} << (20 + random.below(6));
    const int32_t units = cuda::units_at_once(args, room);
    const auto bytes = [&](int64_t count) {
      const int64_t blocks = count * args.view.kv_heads * args.heads.parts;
      return static_cast<size_t>(blocks * args.block_floats() * 4 +
                                 args.row_count * p.heads * int64_t{sizeof(AttentionState)});
    };
    if (units > 0) {
      EXPECT_LE(bytes(units), room);
    }
    EXPECT_GT(bytes(units + 1), room);
  }
}

// A launcher that only notes.
struct Noting {
  size_t room = 0;
  bool tiles = true;
  int reused = 0;
  std::vector<std::type_index> kernels{};
  size_t table_bytes() const { return room; }
  void reuse_tables() { ++reused; }
  bool bf16_tiles() const { return tiles; }
  cuda::SharedRoom shared_room() const { return cuda::shared_room(tiles ? 86 : 75); }
  template <class Kernel, class Args>
  void launch(const cuda::LaunchShape&, const Args&) {
    kernels.emplace_back(typeid(Kernel));
  }
};

// Of partial attention.
std::type_index kernel_of(const char* format, int head_dim, bool exact, bool tiles = true) {
  AttentionParams p{.layout = {kv_format(format), 2, head_dim, 32}};
  p.heads = 4;
  p.exact = exact;
  Noting launcher{.tiles = tiles};
  cuda::launch_partial(
      launcher, {.params = p, .view = kv_view(p.layout), .heads = HeadCut(4, 2), .tile_rows = 1},
      1);
  EXPECT_EQ(launcher.kernels.size(), 1u);
  return launcher.kernels.front();
}

using Fp16Cache = cuda::PairCache<DType::f16>;
using Bf16Cache = cuda::PairCache<DType::bf16>;
using TuringBf16Cache = cuda::CodeCache<cuda::Bf16AsF16>;
template <int kBits>
using QuantisedCache = cuda::CodeCache<cuda::Codes<kBits>>;
template <class Cache>
const std::type_info& on_tiles() {
  return typeid(cuda::AttentionTilesKernel<Cache>);
}
template <class Reader>
const std::type_info& in_fp32() {
  return typeid(cuda::AttentionKernel<Reader>);
}
template <class Cache>
bool fits(int head_dim, int kib) {
  return Cache::shared_bytes(cuda::kTileQueries, head_dim) <= size_t{1024} * kib;
}

TEST(CudaAttentionKernels, WhatIsStagedFitsEveryGpu) {
  for (int head_dim = 16; cuda::tiles_fit(head_dim); head_dim += 16) {
    constexpr int kLeastShared = 99;  // of compute capabilities 8.6 and 12.0
    EXPECT_TRUE(fits<Fp16Cache>(head_dim, kLeastShared));
    EXPECT_TRUE(fits<Bf16Cache>(head_dim, kLeastShared));
    EXPECT_TRUE(fits<QuantisedCache<4>>(head_dim, kLeastShared));
    EXPECT_TRUE(fits<QuantisedCache<8>>(head_dim, kLeastShared));
  }
}

TEST(CudaAttentionKernels, TensorCoresTakeWhatFitsThem) {
  using cuda::CodeReader, cuda::RawReader;
  EXPECT_EQ(kernel_of("bf16", 128, false), on_tiles<Bf16Cache>());
  EXPECT_EQ(kernel_of("fp16", 256, false), on_tiles<Fp16Cache>());
  EXPECT_EQ(kernel_of("int8", 80, false), on_tiles<QuantisedCache<8>>());
  EXPECT_EQ(kernel_of("int4", 96, false), on_tiles<QuantisedCache<4>>());
  EXPECT_EQ(kernel_of("int8", 512, false), in_fp32<CodeReader<8>>());
  EXPECT_EQ(kernel_of("int4", 96, true), in_fp32<CodeReader<4>>());
  EXPECT_EQ(kernel_of("int8", 20, false), in_fp32<CodeReader<8>>());
  EXPECT_EQ(kernel_of("bf16", 64, true, false), in_fp32<RawReader<DType::bf16>>());
  EXPECT_EQ(kernel_of("fp16", 64, true), in_fp32<RawReader<DType::f16>>());
  EXPECT_EQ(kernel_of("fp16", 40, false), in_fp32<RawReader<DType::f16>>());
  EXPECT_EQ(kernel_of("fp32", 64, false), in_fp32<RawReader<DType::f32>>());
}

template <class Cache>
void expect_on_turing(const char* format, int largest_head_dim) {
  for (int head_dim = 16; head_dim <= 256; head_dim += 16) {
    const bool taken = head_dim <= largest_head_dim;
    EXPECT_EQ(fits<Cache>(head_dim, 64), taken) << format << " " << head_dim;
    EXPECT_EQ(kernel_of(format, head_dim, false, false) == on_tiles<Cache>(), taken);
  }
}
// Its blocks have 64 KiB of shared memory: however few the queries, so that the bits are the same.
TEST(CudaAttentionKernels, TuringTakesHeadsThatFitIt) {
  expect_on_turing<Fp16Cache>("fp16", 240);
  expect_on_turing<TuringBf16Cache>("bf16", 224);
  expect_on_turing<QuantisedCache<8>>("int8", 192);
  expect_on_turing<QuantisedCache<4>>("int4", 192);
}

// Lanes of half a warp read 8 bytes each.
TEST(CudaAttentionKernels, StagedQueriesOfFp16HaveNoBankConflicts) {
  for (int head_dim = 16; cuda::tiles_fit(head_dim); head_dim += 16) {
    const int64_t stride = cuda::StagedQueries<DType::f16>::row_bytes(head_dim);
    for (int half = 0; half < 32; half += 16) {
      std::set<int64_t> banks;
      for (int lane = half; lane < half + 16; ++lane) {
        const cuda::PlaceB place = cuda::place_b(lane, 0);
        banks.insert((place.column * stride + place.word * 8) / 8 % 16);
      }
      EXPECT_EQ(banks.size(), 16u);
    }
  }
}

TEST(CudaSpanGroups, KeepTheOrderAndTheRoom) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    test::Random random(seed);
    const std::vector<SpanView> spans = random_spans(random);
    Noting launcher{.room = 4000};
    size_t next = 0;
    int groups = 0;
    cuda::in_groups(launcher, spans.data(), static_cast<int32_t>(spans.size()), 16,
                    [&](const std::vector<SpanView>& group) {
                      size_t bytes = 0;
                      for (const SpanView& span : group) {
                        EXPECT_EQ(span.position, spans[next].position);
                        EXPECT_EQ(span.count, spans[next++].count);
                        bytes += cuda::table_bytes_of(span, 16);
                      }
                      EXPECT_TRUE(bytes <= launcher.room || group.size() == 1);
                      ++groups;
                    });
    EXPECT_EQ(next, spans.size());
    EXPECT_EQ(launcher.reused, groups - 1);
  }
}

}  // namespace
}  // namespace penstock
