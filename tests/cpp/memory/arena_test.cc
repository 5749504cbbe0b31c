#include "memory/arena.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <utility>

#include "base/error.h"

namespace penstock {
namespace {

class ArenaTest : public testing::Test {
 protected:
  Budget budget_{{Tier::host, 0}, 1 << 20};
};

TEST_F(ArenaTest, HandsOutAlignedPiecesThatDoNotOverlap) {
  Arena arena(allocate_host(1 << 16, budget_, "arena"));
  std::mt19937 random(3);
  std::byte* last_end = nullptr;
  for (int i = 0; i < 100; ++i) {
    const size_t bytes = random() % 500, alignment = size_t{1} << random() % 8;
    std::byte* piece = arena.take(bytes, alignment);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % alignment, 0u);
    EXPECT_GE(piece, last_end);
    last_end = piece + bytes;
  }
  EXPECT_LE(arena.used(), arena.bytes());
}

TEST_F(ArenaTest, GivesTheLastByteAndNoMore) {
  Arena arena(allocate_host(4096, budget_, "arena"));
  arena.take(4000);
  EXPECT_EQ(arena.used(), 4000u);
  EXPECT_THROW(arena.take(65, 64), Error);
  EXPECT_THROW(arena.take(SIZE_MAX), Error);
  EXPECT_THROW(arena.take(8, 24), Error);
  EXPECT_EQ(arena.used(), 4000u);
  arena.take(96, 1);
  EXPECT_EQ(arena.used(), 4096u);
  EXPECT_THROW(arena.take(1, 1), Error);
  arena.take(0, 1);
}

TEST_F(ArenaTest, BlocksAreDistinctAndComeBack) {
  BlockPool pool(allocate_host(10 * 100 + 50, budget_, "blocks"), 100);
  EXPECT_EQ(pool.blocks(), 10u);
  EXPECT_EQ(pool.block_bytes(), 100u);
  std::set<std::byte*> taken;
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    if (!taken.empty() && random() % 2) {
      auto block = std::next(taken.begin(), random() % taken.size());
      pool.give_back(*block);
      taken.erase(block);
    } else if (taken.size() < 10) {
      EXPECT_TRUE(taken.insert(pool.take()).second);
    } else {
      EXPECT_THROW(pool.take(), Error);
    }
    ASSERT_EQ(pool.free_blocks(), 10 - taken.size());
  }
  for (std::byte* block : taken) EXPECT_EQ((block - *taken.begin()) % 100, 0);
}

TEST_F(ArenaTest, OnlyTakenBlocksMayBeGivenBack) {
  BlockPool pool(allocate_host(1000, budget_, "blocks"), 100);
  std::byte* block = pool.take();
  EXPECT_THROW(pool.give_back(block + 1), Error);
  EXPECT_THROW(pool.give_back(block + 100), Error);   // free
  EXPECT_THROW(pool.give_back(block + 1000), Error);  // outside
  EXPECT_THROW(pool.give_back(block - 100), Error);
  EXPECT_THROW(pool.give_back(nullptr), Error);
  pool.give_back(block);
  EXPECT_THROW(pool.give_back(block), Error);
  EXPECT_EQ(pool.free_blocks(), 10u);
}

TEST_F(ArenaTest, ASharedBlockIsFreeWhenItsLastUserGaveItBack) {
  BlockPool pool(allocate_host(1000, budget_, "blocks"), 100);
  std::byte* block = pool.take();
  pool.share(block);
  pool.share(block);
  for (int left = 2; left >= 0; --left) {
    EXPECT_EQ(pool.free_blocks(), 9u);
    pool.give_back(block);
  }
  EXPECT_EQ(pool.free_blocks(), 10u);
  EXPECT_THROW(pool.share(block), Error);
  EXPECT_THROW(pool.share(nullptr), Error);
}

TEST_F(ArenaTest, AnEmptyPoolHasNothing) {
  BlockPool pool;
  EXPECT_THROW(pool.take(), Error);
  std::byte byte;
  EXPECT_THROW(pool.give_back(&byte), Error);
  EXPECT_THROW(BlockPool(Buffer(), 0), Error);
  EXPECT_EQ(BlockPool(Buffer(), 64).blocks(), 0u);
}

}  // namespace
}  // namespace penstock
