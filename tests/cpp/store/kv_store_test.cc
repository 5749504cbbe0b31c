#include "store/kv_store.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/error.h"

namespace penstock {
namespace {

class KvStoreTest : public ::testing::Test {
 protected:
  static constexpr KvHome kHere{};
  static constexpr KvHome kDisk{Tier::disk, kAllPages};
  static constexpr KvHome kHost{Tier::host, kAllPages};

  KvStoreInput input(int64_t blocks, uint64_t disk_pages) {
    KvStoreInput input;
    input.layout = {kv_format("int8"), 2, 16, 16};
    input.layers = 3;
    input.blocks = blocks;
    input.disk_bytes = disk_pages * kIoAlignment;
    input.folder = ::testing::TempDir();
    input.devices = {{device_.get(), &host_}};
    input.host = &host_;
    input.disk = &disk_;
    return input;
  }
  // Beside an accelerator, keeping books only.
  KvStoreInput below(int64_t blocks, int64_t host_blocks, uint64_t disk_pages) {
    KvStoreInput made = input(blocks, disk_pages);
    made.devices = {};
    made.accelerator = true;
    made.host_blocks = host_blocks;
    return made;
  }
  static bool open(KvStore& store, KvSequence& sequence, const KvHome& home, int64_t tokens) {
    return store.open(sequence, home, tokens, {}) && store.grow(sequence, tokens);
  }

  Budget host_{{Tier::host, 0}, uint64_t{64} << 20};
  Budget disk_{{Tier::disk, 0}, uint64_t{64} << 20};
  LaneSet lanes_;
  std::unique_ptr<Device> device_ = open_device({}, lanes_, host_);
};

TEST_F(KvStoreTest, PagesAreTakenAsASequenceGrowsAndComeBackWhenItCloses) {
  KvStore store(input(30, 0));
  KvSequence sequence;
  ASSERT_TRUE(store.open(sequence, kHere, 100, {}));
  EXPECT_EQ(store.free().here, 30);
  ASSERT_TRUE(store.grow(sequence, 16));
  EXPECT_EQ(store.free().here, 27);
  ASSERT_TRUE(store.grow(sequence, 17));
  EXPECT_EQ(store.free().here, 24);
  ASSERT_TRUE(store.grow(sequence, 10));
  EXPECT_EQ(store.free().here, 24);
  store.close(sequence);
  EXPECT_EQ(store.free().here, 30);
}

TEST_F(KvStoreTest, AnEmptyPoolRefusesAndChangesNothing) {
  KvStore store(input(8, 0));
  KvSequence first, second;
  ASSERT_TRUE(store.open(first, kHere, 100, {}) && store.open(second, kHere, 100, {}));
  ASSERT_TRUE(store.grow(first, 32));
  EXPECT_FALSE(store.grow(second, 16));
  EXPECT_EQ(store.free().here, 2);
  EXPECT_TRUE(second.pages[0].empty());
  store.close(first);
  EXPECT_TRUE(store.grow(second, 16));
}

TEST_F(KvStoreTest, SharedPagesOutliveTheirDonor) {
  KvStore store(input(30, 0));
  KvSequence donor, other;
  ASSERT_TRUE(open(store, donor, kHere, 40));
  ASSERT_TRUE(store.open(other, kHere, 100, {&donor, 2}));
  EXPECT_EQ(store.free().here, 30 - 9);
  for (int layer = 0; layer < 3; ++layer) {
    ASSERT_EQ(other.pages[layer].size(), 2u);
    EXPECT_EQ(other.pages[layer][1], donor.pages[layer][1]);
  }
  ASSERT_TRUE(store.grow(other, 33));
  EXPECT_NE(other.pages[0][2], donor.pages[0][2]);
  store.close(donor);
  EXPECT_EQ(store.free().here, 30 - 9);  // two shared pages and one own, of three layers
  store.close(other);
  EXPECT_EQ(store.free().here, 30);
}

TEST_F(KvStoreTest, OnlyWhatIsThereCanBeShared) {
  KvStore store(input(30, 9));
  KvSequence donor, other;
  ASSERT_TRUE(open(store, donor, kHere, 16));
  EXPECT_THROW(store.open(other, kHere, 100, {&donor, 2}), Error);
  KvSequence spilled;
  EXPECT_THROW(store.open(spilled, kDisk, 32, {&donor, 1}), Error);
}

TEST_F(KvStoreTest, UnitsOnDiskLiveUntilTheirLastUserCloses) {
  KvStore store(input(30, 30));
  KvSequence donor, other, third;
  ASSERT_TRUE(open(store, donor, kDisk, 64));
  EXPECT_EQ(store.free().units, 30 - 12);
  ASSERT_TRUE(store.open(other, kDisk, 80, {&donor, 3}));  // two pages of its own
  EXPECT_EQ(store.free().units, 30 - 12 - 6);
  ASSERT_TRUE(store.grow(other, 80));
  ASSERT_TRUE(store.open(third, kDisk, 80, {&other, 4}));  // three of the donor's, one of other's
  for (int layer = 0; layer < 3; ++layer) {
    EXPECT_EQ(other.unit(layer, 2), donor.unit(layer, 2));
    EXPECT_NE(other.unit(layer, 3), donor.unit(layer, 3));
    EXPECT_EQ(third.unit(layer, 3), other.unit(layer, 3));
  }
  store.close(donor);
  EXPECT_EQ(store.free().units, 30 - 12 - 6 - 3 + 3);  // its fourth page of three layers
  store.close(other);
  store.close(third);
  EXPECT_EQ(store.free().units, 30);
  KvSequence whole;  // everything came back in one piece
  EXPECT_TRUE(store.open(whole, kDisk, 10 * 16, {}));
}

TEST_F(KvStoreTest, NoPageIsGivenTwice) {
  KvStore store(input(60, 0));
  std::set<std::byte*> seen;
  std::vector<KvSequence> sequences(5);
  for (KvSequence& sequence : sequences) {
    ASSERT_TRUE(open(store, sequence, kHere, 64));
    for (const auto& layer : sequence.pages) {
      for (std::byte* page : layer) EXPECT_TRUE(seen.insert(page).second);
    }
  }
  EXPECT_EQ(seen.size(), 60u);
}

TEST_F(KvStoreTest, DiskSequencesHoldOneTailPageALayerAndAnExtentOfTheirOwn) {
  KvStore store(input(12, 60));
  std::mt19937 generator(11);
  std::vector<KvSequence> sequences;
  for (int round = 0; round < 500; ++round) {
    if (generator() % 2 == 0 || sequences.empty()) {
      KvSequence sequence;
      if (open(store, sequence, kDisk, 16 * (1 + static_cast<int>(generator() % 5)))) {
        sequences.push_back(std::move(sequence));
      }
    } else {
      const size_t victim = generator() % sequences.size();
      store.close(sequences[victim]);
      sequences.erase(sequences.begin() + static_cast<int>(victim));
    }
    std::set<uint64_t> units;
    for (const KvSequence& sequence : sequences) {
      for (int layer = 0; layer < 3; ++layer) {
        for (size_t page = 0; page < sequence.pages[layer].size(); ++page) {
          EXPECT_EQ(sequence.pages[layer][page], nullptr);
          ASSERT_TRUE(units.insert(sequence.unit(layer, static_cast<int64_t>(page))).second);
          ASSERT_LT(sequence.unit(layer, static_cast<int64_t>(page)), 60u);
        }
      }
    }
    ASSERT_EQ(store.free().here, 12 - 3 * static_cast<int64_t>(sequences.size()));
    ASSERT_EQ(store.free().units, 60 - static_cast<int64_t>(units.size()));
  }
  for (KvSequence& sequence : sequences) store.close(sequence);
  KvSequence whole;  // everything came back in one piece
  EXPECT_TRUE(store.open(whole, kDisk, 20 * 16, {}));
}

// Any cut, on any tier: what a sequence takes is what need() said, and all of it comes back.
TEST_F(KvStoreTest, SequencesAreCutAtAnyPage) {
  KvStore store(below(90, 90, 90));
  std::mt19937 generator(12);
  for (int round = 0; round < 300; ++round) {
    const int64_t tokens = 1 + static_cast<int64_t>(generator() % 96);
    const KvHome home{generator() % 2 == 0 ? Tier::host : Tier::disk,
                      static_cast<int64_t>(generator() % 8)};
    KvSequence sequence;
    ASSERT_TRUE(open(store, sequence, home, tokens));
    const KvNeed need = store.need(home, tokens), free = store.free();
    EXPECT_EQ(90 - free.here, need.here);
    EXPECT_EQ(90 - free.host, need.host);
    EXPECT_EQ(90 - free.units, need.units);
    const int64_t pages = (tokens + 15) / 16, under = std::min(pages, home.below_pages);
    EXPECT_EQ(need.here, 3 * (pages - under));
    store.close(sequence);
    EXPECT_EQ(store.free().here + store.free().host + store.free().units, 270);
  }
}

TEST_F(KvStoreTest, ASequenceThatSharesHasThosePagesWhereTheyAre) {
  KvStore store(below(30, 30, 30));
  KvSequence donor, other;
  ASSERT_TRUE(open(store, donor, {Tier::host, 2}, 64));
  EXPECT_THROW(store.open(other, kHere, 64, {&donor, 1}), Error);
  EXPECT_THROW(store.open(other, kHost, 64, {&donor, 3}), Error);
  ASSERT_TRUE(store.open(other, {Tier::host, 2}, 64, {&donor, 3}));
  ASSERT_TRUE(store.grow(other, 64));
  EXPECT_EQ(store.free().host, 30 - 6);
  EXPECT_EQ(store.free().here, 30 - 6 - 3);
  store.close(donor);
  store.close(other);
  EXPECT_EQ(store.free().host + store.free().here, 60);
}

}  // namespace
}  // namespace penstock
