#include "store/kv_store.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/error.h"

namespace penstock {
namespace {

class KvStoreTest : public ::testing::Test {
 protected:
  KvStoreInput input(int64_t blocks, uint64_t disk_pages) {
    KvStoreInput input;
    input.layout = {kv_format("int8"), 2, 16, 16};
    input.layers = 3;
    input.blocks = blocks;
    input.disk_bytes = disk_pages * kIoAlignment;
    input.folder = ::testing::TempDir();
    input.device = device_.get();
    input.memory = &host_;
    input.disk = &disk_;
    return input;
  }

  Budget host_{{Tier::host, 0}, uint64_t{64} << 20};
  Budget disk_{{Tier::disk, 0}, uint64_t{64} << 20};
  LaneSet lanes_;
  std::unique_ptr<Device> device_ = open_device({}, lanes_, host_);
};

TEST_F(KvStoreTest, PagesAreTakenAsASequenceGrowsAndComeBackWhenItCloses) {
  KvStore store(input(30, 0));
  KvSequence sequence;
  ASSERT_TRUE(store.open(sequence, false, 100));
  EXPECT_EQ(store.free_blocks(), 30);
  ASSERT_TRUE(store.grow(sequence, 16));
  EXPECT_EQ(store.free_blocks(), 27);
  ASSERT_TRUE(store.grow(sequence, 17));
  EXPECT_EQ(store.free_blocks(), 24);
  ASSERT_TRUE(store.grow(sequence, 10));
  EXPECT_EQ(store.free_blocks(), 24);
  store.close(sequence);
  EXPECT_EQ(store.free_blocks(), 30);
}

TEST_F(KvStoreTest, AnEmptyPoolRefusesAndChangesNothing) {
  KvStore store(input(8, 0));
  KvSequence first, second;
  ASSERT_TRUE(store.open(first, false, 100) && store.open(second, false, 100));
  ASSERT_TRUE(store.grow(first, 32));
  EXPECT_FALSE(store.grow(second, 16));
  EXPECT_EQ(store.free_blocks(), 2);
  EXPECT_TRUE(second.pages[0].empty());
  store.close(first);
  EXPECT_TRUE(store.grow(second, 16));
}

TEST_F(KvStoreTest, SharedPagesOutliveTheirDonor) {
  KvStore store(input(30, 0));
  KvSequence donor, other;
  ASSERT_TRUE(store.open(donor, false, 100) && store.grow(donor, 40));
  ASSERT_TRUE(store.open(other, false, 100));
  store.share(donor, 2, other);
  EXPECT_EQ(store.free_blocks(), 30 - 9);
  for (int layer = 0; layer < 3; ++layer) {
    ASSERT_EQ(other.pages[layer].size(), 2u);
    EXPECT_EQ(other.pages[layer][1], donor.pages[layer][1]);
  }
  ASSERT_TRUE(store.grow(other, 33));
  EXPECT_NE(other.pages[0][2], donor.pages[0][2]);
  store.close(donor);
  EXPECT_EQ(store.free_blocks(), 30 - 9);  // two shared pages and one own, of three layers
  store.close(other);
  EXPECT_EQ(store.free_blocks(), 30);
}

TEST_F(KvStoreTest, OnlyWhatIsThereCanBeShared) {
  KvStore store(input(30, 9));
  KvSequence donor, other, spilled;
  ASSERT_TRUE(store.open(donor, false, 100) && store.grow(donor, 16));
  ASSERT_TRUE(store.open(other, false, 100) && store.open(spilled, true, 16));
  EXPECT_THROW(store.share(donor, 2, other), Error);
  EXPECT_THROW(store.share(donor, 1, spilled), Error);
  EXPECT_THROW(store.share(spilled, 1, other), Error);
}

TEST_F(KvStoreTest, NoPageIsGivenTwice) {
  KvStore store(input(60, 0));
  std::set<std::byte*> seen;
  std::vector<KvSequence> sequences(5);
  for (KvSequence& sequence : sequences) {
    ASSERT_TRUE(store.open(sequence, false, 64) && store.grow(sequence, 64));
    for (const auto& layer : sequence.pages) {
      for (std::byte* page : layer) EXPECT_TRUE(seen.insert(page).second);
    }
  }
  EXPECT_EQ(seen.size(), 60u);
}

TEST_F(KvStoreTest, DiskSequencesHoldOneTailPageALayerAndAnExtentOfTheirOwn) {
  KvStore store(input(12, 60));
  std::mt19937 generator(11);
  std::vector<KvSequence> open;
  for (int round = 0; round < 500; ++round) {
    if (generator() % 2 == 0 || open.empty()) {
      KvSequence sequence;
      if (store.open(sequence, true, 16 * (1 + static_cast<int>(generator() % 5)))) {
        open.push_back(std::move(sequence));
      }
    } else {
      const size_t victim = generator() % open.size();
      store.close(open[victim]);
      open.erase(open.begin() + static_cast<int>(victim));
    }
    std::set<uint64_t> units;
    for (const KvSequence& sequence : open) {
      for (int layer = 0; layer < 3; ++layer) {
        ASSERT_EQ(sequence.pages[layer].size(), 1u);
        for (int64_t page = 0; page < sequence.disk_pages; ++page) {
          ASSERT_TRUE(units.insert(sequence.unit(layer, page)).second);
          ASSERT_LT(sequence.unit(layer, page), 60u);
        }
      }
    }
    ASSERT_EQ(store.free_blocks(), 12 - 3 * static_cast<int64_t>(open.size()));
  }
  for (KvSequence& sequence : open) store.close(sequence);
  KvSequence whole;  // everything came back in one piece
  EXPECT_TRUE(store.open(whole, true, 20 * 16));
}

}  // namespace
}  // namespace penstock
