#include "plan/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "plan/tiny_models.h"

namespace penstock {
namespace {

constexpr int kSeeds = 150;

struct Placed {
  std::unique_ptr<Tiny> model;
  PlacementOptions options;
  WeightPlan plan;

  const WeightInfo& info(int id) const { return model->list.at(id); }
  bool packed(int id) const { return format(plan.formats[id]).quantised(); }
  int64_t unit(int id) const { return packed(id) ? kTileRows : 1; }
  uint64_t unit_bytes(int id) const { return bytes(id, 0, unit(id)); }
  uint64_t bytes(int id, int64_t begin, int64_t end) const {
    return stored_bytes(info(id), plan.formats[id], begin, end);
  }
  int64_t rows_on(int id, Tier tier) const {
    int64_t rows = 0;
    for (const Segment& s : plan.placements[id].segments) {
      if (s.place.tier == tier) rows += s.end - s.begin;
    }
    return rows;
  }
  std::vector<int> matrices() const {
    std::vector<int> ids;
    for (const Module& module : model->program.modules) {
      ids.insert(ids.end(), module.matrices.begin(), module.matrices.end());
    }
    return ids;
  }
};

Placed random_placed(int seed) {
  Dice dice(seed);
  Placed made{random_model(dice), {}, {}};
  PlacementOptions& o = made.options;
  o.compute = dice.one_in(2) ? Tier::device : Tier::host;
  o.shares.host = dice.share();
  if (o.compute == Tier::device) o.shares.device = dice.share() * (1 - o.shares.host);
  if (dice.one_in(5)) o.shares = {0, 1, 0};
  if (dice.one_in(5)) o.shares = {0, 0, 1};
  o.shares.disk = 1 - o.shares.host - o.shares.device;
  o.panel_bytes = dice.pick<uint64_t>({1, 500, 4096, 20000, 1 << 21});
  o.head_chunk_columns = dice.pick<int64_t>({256, 1000, 8192});
  o.whole_tensors = dice.one_in(4);
  made.plan = place_weights(made.model->program, made.model->list, made.model->input.formats, o);
  return made;
}

TEST(PlaceWeights, SegmentsCoverAllRowsInOrder) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Placed placed = random_placed(seed);
    for (const WeightInfo& info : placed.model->list.all()) {
      const auto& segments = placed.plan.placements[info.id].segments;
      if (info.kind == WeightKind::vector) {
        EXPECT_TRUE(segments.empty());
        continue;
      }
      int64_t row = 0;
      int tier = -1;
      for (const Segment& s : segments) {
        EXPECT_EQ(s.begin, row);
        EXPECT_LT(s.begin, s.end);
        EXPECT_GT(static_cast<int>(s.place.tier), tier);
        EXPECT_TRUE(s.end == info.rows || s.end % placed.unit(info.id) == 0);
        tier = static_cast<int>(s.place.tier);
        row = s.end;
      }
      EXPECT_EQ(row, info.rows);
    }
  }
}

TEST(PlaceWeights, SharesAreExactToOneRowOrTile) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Placed placed = random_placed(seed);
    if (placed.options.whole_tensors) continue;
    const double asked[] = {placed.options.shares.device, placed.options.shares.host};
    for (Tier tier : {Tier::device, Tier::host}) {
      const double share = asked[static_cast<int>(tier)];
      if (tier == Tier::host && placed.options.shares.disk <= 0) continue;  // takes what is left
      double wanted = 0, got = 0;
      uint64_t largest = 0;
      for (int id : placed.matrices()) {
        const int64_t rows = placed.info(id).rows, unit = placed.unit(id);
        const double units = static_cast<double>((rows + unit - 1) / unit);
        const double taken = static_cast<double>((placed.rows_on(id, tier) + unit - 1) / unit);
        EXPECT_LT(std::abs(taken - share * units), 1 + 1e-6) << "seed " << seed;
        wanted += share * units * static_cast<double>(placed.unit_bytes(id));
        got += taken * static_cast<double>(placed.unit_bytes(id));
        largest = std::max(largest, placed.unit_bytes(id));
      }
      EXPECT_LE(got, wanted + 1) << "seed " << seed;
      const double missing = tier == Tier::host && placed.options.compute == Tier::device ? 2 : 1;
      EXPECT_GT(got, wanted - missing * static_cast<double>(largest) - 1) << "seed " << seed;
    }
  }
}

// An OPT model: 12 h^2 values a layer in matrices, h^2 each in q, k, v and o, 4 h^2 in up and down.
// Their middles lie at 12.5, 37.5, 62.5 and 87.5% of the attention module and at 25 and 75% of the
// MLP.
class WholeTensors : public testing::Test {
 protected:
  void place(const Shares& shares) {
    PlacementOptions options;
    options.compute = Tier::device;
    options.shares = shares;
    options.whole_tensors = true;
    plan_ = place_weights(model_.program, model_.list, model_.input.formats, options);
  }

  Tier tier_of(Role role, int layer) const {
    const Placement& placement = plan_.placements.at(model_.list.find(role, layer));
    EXPECT_EQ(placement.segments.size(), 1u);
    return placement.segments.at(0).place.tier;
  }

  // Of the values of the layers' matrices, those on the device.
  double device_share(double asked) {
    place({asked, 1 - asked, 0});
    int64_t device = 0, all = 0;
    for (const WeightInfo& info : model_.list.all()) {
      if (info.layer < 0 || info.kind != WeightKind::matrix) continue;
      const int64_t values = info.rows * info.cols;
      all += values;
      if (tier_of(info.role, info.layer) == Tier::device) device += values;
    }
    return static_cast<double>(device) / static_cast<double>(all);
  }

  Tiny model_{opt_text(256, 4, 3, 1000, 256)};
  WeightPlan plan_;
};

TEST_F(WholeTensors, GiveOtherSharesThanAskedFor) {
  for (const char* format : {"", "int8", "int4"}) {
    SCOPED_TRACE(format);
    model_.use_format(format);
    EXPECT_EQ(device_share(0), 0);
    EXPECT_EQ(device_share(0.04), 0);
    EXPECT_EQ(device_share(0.10), 0);
    EXPECT_DOUBLE_EQ(device_share(0.20), 1.0 / 12);  // o: 8.3%
    EXPECT_DOUBLE_EQ(device_share(0.30), 5.0 / 12);  // o and down: 41.7%
    EXPECT_DOUBLE_EQ(device_share(0.50), 6.0 / 12);  // v too
    EXPECT_EQ(device_share(1), 1);
  }
}

// Biases and norms shift the middle of down from 75% to a little less, that of up from 25% too.
TEST_F(WholeTensors, VectorsDecideWhereAMiddleFallsOnABorder) {
  EXPECT_DOUBLE_EQ(device_share(0.25), 1.0 / 12);  // o, not down
  EXPECT_DOUBLE_EQ(device_share(0.75), 7.0 / 12);  // k, v, o and down, not up
}

TEST_F(WholeTensors, GoToDiskThenHostThenDevice) {
  place({0.2, 0.4, 0.4});
  for (int layer = 0; layer < 3; ++layer) {
    EXPECT_EQ(tier_of(Role::q, layer), Tier::disk);
    EXPECT_EQ(tier_of(Role::k, layer), Tier::disk);
    EXPECT_EQ(tier_of(Role::v, layer), Tier::host);
    EXPECT_EQ(tier_of(Role::o, layer), Tier::device);
    EXPECT_EQ(tier_of(Role::up, layer), Tier::disk);
    EXPECT_EQ(tier_of(Role::down, layer), Tier::host);
  }
  EXPECT_EQ(tier_of(Role::head, -1), Tier::host);
}

TEST(PlaceWeights, WholeTensorsAreNeverCut) {
  int whole = 0;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Placed placed = random_placed(seed);
    if (!placed.options.whole_tensors) continue;
    ++whole;
    const Shares& shares = placed.options.shares;
    const double asked[] = {shares.device, shares.host, shares.disk};
    for (int id : placed.matrices()) {
      const auto& segments = placed.plan.placements[id].segments;
      ASSERT_EQ(segments.size(), 1u);
      EXPECT_GT(asked[static_cast<int>(segments[0].place.tier)], 0);
    }
  }
  EXPECT_GT(whole, 20);
}

TEST(PlaceWeights, WholeSharesLeaveNothingElsewhere) {
  for (int seed = 0; seed < 40; ++seed) {
    Dice dice(seed);
    const auto model = random_model(dice);
    PlacementOptions options;
    options.shares = {0, 1, 0};
    const WeightPlan plan =
        place_weights(model->program, model->list, model->input.formats, options);
    EXPECT_EQ(plan.streamed_bytes, 0u);
    EXPECT_EQ(plan.resident_bytes[static_cast<int>(Tier::disk)], 0u);
    options.shares = {0, 0, 1};
    const WeightPlan disk =
        place_weights(model->program, model->list, model->input.formats, options);
    EXPECT_EQ(disk.resident_bytes[static_cast<int>(Tier::host)], 0u);
  }
}

TEST(PlaceWeights, PanelsHoldEveryRowOnceWhereItLives) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Placed placed = random_placed(seed);
    std::map<int, int64_t> next;  // by weight: first row not seen yet
    for (const Visit& visit : placed.plan.visits) {
      const auto& ids = placed.model->program.modules[visit.module].matrices;
      size_t at = 0;
      for (const Panel& panel : visit.panels) {
        while (at < ids.size() && ids[at] != panel.weight) ++at;
        ASSERT_LT(at, ids.size()) << "panels are in the order of use";
        ASSERT_EQ(panel.row_begin, next[panel.weight]) << "seed " << seed;
        next[panel.weight] = panel.row_end;
        for (const Segment& s : placed.plan.placements[panel.weight].segments) {
          const bool inside = s.begin <= panel.row_begin && panel.row_end <= s.end;
          const bool outside = panel.row_end <= s.begin || s.end <= panel.row_begin;
          ASSERT_TRUE(inside || outside);
          ASSERT_TRUE(outside || s.place.tier == panel.home);
        }
      }
    }
    for (int id : placed.matrices()) EXPECT_EQ(next[id], placed.info(id).rows);
  }
}

TEST(PlaceWeights, PanelsAreBlocksOrAimAtTheSizeAsked) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Placed placed = random_placed(seed);
    for (const Visit& visit : placed.plan.visits) {
      for (const Panel& panel : visit.panels) {
        const WeightInfo& info = placed.info(panel.weight);
        uint64_t expected = placed.bytes(panel.weight, panel.row_begin, panel.row_end);
        const bool streamed = is_streamed(panel, placed.options.compute);
        if (streamed && placed.packed(panel.weight)) {
          const QuantFormat& f = format(placed.plan.formats[panel.weight]);
          const int64_t block = packed_block_rows(f, info.rows, info.cols);
          EXPECT_EQ(panel.row_begin / block, (panel.row_end - 1) / block) << "inside one block";
          const int64_t begin = panel.row_begin / block * block;
          if (panel.home == Tier::disk) {
            expected = placed.bytes(panel.weight, begin, std::min(info.rows, begin + block));
          }
        } else if (streamed && panel.row_end - panel.row_begin > 1) {
          EXPECT_LE(panel.bytes, placed.options.panel_bytes);
        }
        EXPECT_EQ(panel.bytes, expected);
        EXPECT_EQ(panel.upload_bytes, placed.bytes(panel.weight, panel.row_begin, panel.row_end));
      }
    }
  }
}

TEST(PlaceWeights, HeadChunksFollowEachOther) {
  int several = 0;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Placed placed = random_placed(seed);
    const int vocab = placed.model->config.spec.vocab;
    int64_t row = 0, widest = 0;
    int chunks = 0;
    for (const Visit& visit : placed.plan.visits) {
      const bool head = placed.model->program.modules[visit.module].kind == ModuleKind::head;
      if (!head) {
        EXPECT_EQ(row, 0) << "the head is last";
        continue;
      }
      EXPECT_EQ(visit.row_begin, row);
      EXPECT_EQ(visit.row_begin % 256, 0);
      EXPECT_EQ(visit.first_chunk, row == 0);
      EXPECT_EQ(visit.last_chunk, visit.row_end == vocab);
      if (visit.row_end - row > 256 && !placed.packed(visit.panels.back().weight)) {
        EXPECT_LE(visit.row_end - row, placed.options.head_chunk_columns);
      }
      widest = std::max(widest, visit.row_end - row);
      row = visit.row_end;
      ++chunks;
    }
    EXPECT_EQ(row, vocab);
    EXPECT_EQ(placed.plan.head_columns, widest);
    several += chunks > 1;
  }
  EXPECT_GT(several, 20);
}

TEST(PlaceWeights, HeadChunksStayBelowTheLargestVisit) {
  Tiny model(llama_text(64, 4, 2, 20000, false));
  PlacementOptions options;
  options.shares = {0, 0, 1};
  options.panel_bytes = 4096;
  const WeightPlan plan = place_weights(model.program, model.list, model.input.formats, options);
  uint64_t largest = 0, largest_head = 0;
  for (const Visit& visit : plan.visits) {
    uint64_t bytes = 0;
    for (const Panel& panel : visit.panels) bytes += panel.bytes;
    const bool head = model.program.modules[visit.module].kind == ModuleKind::head;
    (head ? largest_head : largest) = std::max(head ? largest_head : largest, bytes);
  }
  EXPECT_GT(largest_head, largest / 2);
  EXPECT_LE(largest_head, largest);
}

TEST(PlaceWeights, TotalsAreTheSumsOfWhatTravels) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Placed placed = random_placed(seed);
    uint64_t disk = 0, upload = 0, largest = 0;
    for (const Visit& visit : placed.plan.visits) {
      for (const Panel& panel : visit.panels) {
        if (panel.home == Tier::disk) disk += panel.bytes;
        if (!is_streamed(panel, placed.options.compute)) continue;
        largest = std::max(largest, panel.bytes);
        if (placed.options.compute == Tier::device) upload += panel.upload_bytes;
      }
    }
    EXPECT_EQ(placed.plan.streamed_bytes, disk);
    EXPECT_EQ(placed.plan.uploaded_bytes, upload);
    EXPECT_EQ(placed.plan.max_panel_bytes, largest);
  }
}

TEST(PlaceWeights, TiedRawTableIsTheHead) {
  Tiny model(llama_text(64, 4, 2, 1000, true));
  const int table = model.list.find(Role::token_embed), head = model.list.find(Role::head);
  PlacementOptions options;
  options.shares = {0, 0.5, 0.5};
  const auto place = [&] {
    return place_weights(model.program, model.list, model.input.formats, options);
  };
  const WeightPlan raw = place();
  EXPECT_EQ(raw.alias[table], head);
  ASSERT_EQ(raw.placements[table].segments.size(), 2u);
  EXPECT_EQ(raw.placements[table].segments[0].end, raw.placements[head].segments[0].end);
  uint64_t matrices = 0;
  for (const WeightInfo& info : model.list.all()) {
    if (info.kind != WeightKind::matrix) continue;
    const Segment& first = raw.placements[info.id].segments.front();
    if (first.place.tier == Tier::host)
      matrices += stored_bytes(info, raw.formats[info.id], 0, first.end);
  }
  EXPECT_EQ(raw.resident_bytes[static_cast<int>(Tier::host)], matrices) << "counted once";

  model.use_format("int8");
  const WeightPlan packed = place();
  EXPECT_EQ(packed.alias[table], -1);
  ASSERT_EQ(packed.placements[table].segments.size(), 1u);
  EXPECT_EQ(packed.placements[table].segments[0].place.tier, Tier::disk);
  options.shares = {0, 1, 0};
  EXPECT_EQ(place().placements[table].segments[0].place.tier, Tier::host);
}

TEST(PlaceWeights, NoDeviceShareWithoutADevice) {
  Tiny model(llama_text(64, 4, 2, 1000, true));
  PlacementOptions options;
  options.shares = {0.5, 0.5, 0};
  try {
    place_weights(model.program, model.list, model.input.formats, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_EQ(error.detail().field, "weight_share.device");
  }
}

}  // namespace
}  // namespace penstock
