#include "store/spill_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <random>

#include "base/error.h"

namespace penstock {
namespace {

struct AlignedBytes {
  explicit AlignedBytes(size_t bytes)
      : data(static_cast<std::byte*>(std::aligned_alloc(kIoAlignment, bytes)), &std::free) {
    std::mt19937 generator(3);
    for (size_t i = 0; i < bytes; ++i) data.get()[i] = static_cast<std::byte>(generator());
  }
  std::unique_ptr<std::byte, decltype(&std::free)> data;
};

constexpr uint64_t kUnit = 2 * kIoAlignment;

TEST(SpillFile, UnitsComeBackAsTheyWere) {
  Budget disk({Tier::disk, 0}, 1 << 20);
  SpillFile spill(::testing::TempDir(), {kUnit, 3}, disk, "kv");
  AlignedBytes out(kUnit), in(kUnit);
  spill.seal(1, out.data.get());
  spill.file().write(out.data.get(), kUnit, spill.offset(1));
  spill.file().read(in.data.get(), kUnit, spill.offset(1));
  EXPECT_NO_THROW(spill.verify(1, in.data.get()));
  EXPECT_EQ(disk.used(), 3 * kUnit);
}

TEST(SpillFile, EveryChangedBitIsFound) {
  Budget disk({Tier::disk, 0}, 1 << 20);
  SpillFile spill(::testing::TempDir(), {kUnit, 1}, disk, "kv");
  AlignedBytes bytes(kUnit);
  spill.seal(0, bytes.data.get());
  std::mt19937 generator(5);
  for (int i = 0; i < 200; ++i) {
    const size_t at = generator() % kUnit;
    const auto bit = static_cast<std::byte>(1u << (generator() % 8));
    bytes.data.get()[at] ^= bit;
    try {
      spill.verify(0, bytes.data.get());
      FAIL() << "byte " << at;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt);
      EXPECT_NE(std::string(error.what()).find("kv unit 0"), std::string::npos) << error.what();
    }
    bytes.data.get()[at] ^= bit;
  }
  EXPECT_NO_THROW(spill.verify(0, bytes.data.get()));
}

TEST(SpillFile, UnitsThatWereNeverWrittenOrAreSwappedAreFound) {
  Budget disk({Tier::disk, 0}, 1 << 20);
  SpillFile spill(::testing::TempDir(), {kUnit, 2}, disk, "kv");
  AlignedBytes bytes(kUnit);
  EXPECT_THROW(spill.verify(0, bytes.data.get()), Error);
  spill.seal(0, bytes.data.get());
  spill.seal(1, bytes.data.get());
  spill.forget(0);
  EXPECT_THROW(spill.verify(0, bytes.data.get()), Error);
  EXPECT_NO_THROW(spill.verify(1, bytes.data.get()));
}

TEST(SpillFile, TooSmallABudgetAndAFullDiskAreRefusedAtOnce) {
  Budget disk({Tier::disk, 0}, kUnit);
  try {
    SpillFile spill(::testing::TempDir(), {kUnit, 2}, disk, "kv");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::budget);
  }
  FaultSeam seam;
  seam.allocate = [](int, uint64_t) { return -ENOSPC; };
  try {
    SpillFile spill(::testing::TempDir(), {kUnit, 1}, disk, "kv", &seam);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::disk_full);
  }
  EXPECT_EQ(disk.used(), 0u);
}

TEST(SpillFile, LeavesNoNameBehind) {
  const std::string folder = ::testing::TempDir() + "penstock-spill-names";
  ASSERT_EQ(std::system(("rm -rf " + folder + " && mkdir -p " + folder).c_str()), 0);
  Budget disk({Tier::disk, 0}, 1 << 20);
  SpillFile spill(folder, {kUnit, 4}, disk, "kv");
  EXPECT_EQ(::rmdir(folder.c_str()), 0) << "the folder is not empty while the file is open";
}

}  // namespace
}  // namespace penstock
