// What the operating system may do to us, through the seam: errors, short counts, interruptions, a
// full disk.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>

#include "io/aligned_block.h"
#include "io/async_io.h"
#include "io/file.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace penstock {
namespace {

std::string random_text(size_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

int64_t real_pread(int fd, void* data, size_t bytes, uint64_t offset) {
  const ssize_t got = ::pread(fd, data, bytes, static_cast<off_t>(offset));
  return got < 0 ? -errno : got;
}

int64_t real_pwrite(int fd, const void* data, size_t bytes, uint64_t offset) {
  const ssize_t put = ::pwrite(fd, data, bytes, static_cast<off_t>(offset));
  return put < 0 ? -errno : put;
}

class FaultBothWays : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(BufferedAndDirect, FaultBothWays, testing::Bool(),
                         [](const auto& info) { return info.param ? "direct" : "buffered"; });

TEST_P(FaultBothWays, ShortReadsAndInterruptionsAreFinished) {
  const TempFolder folder;
  const std::string content = random_text(300'000, 21);
  std::mt19937_64 random(22);
  FaultSeam seam;
  int calls = 0;
  seam.pread = [&](int fd, void* data, size_t bytes, uint64_t offset) -> int64_t {
    ++calls;
    if (random() % 3 == 0) return -EINTR;
    const int64_t got = real_pread(fd, data, bytes, offset);
    return got > 1 && random() % 2 == 0 ? 1 + static_cast<int64_t>(random() % got) : got;
  };
  const File file = File::open_read(folder.write("a", content), GetParam(), &seam);
  for (int round = 0; round < 20; ++round) {
    std::string text(content.size(), '\0');
    file.read_unaligned(text.data(), text.size(), 0);
    ASSERT_EQ(text, content);
  }
  EXPECT_GT(calls, 40);
}

TEST_P(FaultBothWays, ReadErrorNamesFileOffsetAndErrno) {
  const TempFolder folder;
  const std::string path = folder.write("a", random_text(20'000, 23));
  FaultSeam seam;
  seam.pread = [](int fd, void* data, size_t bytes, uint64_t offset) -> int64_t {
    return offset >= 8192 ? -EIO
                          : real_pread(fd, data, std::min<size_t>(bytes, 8192 - offset), offset);
  };
  const File file = File::open_read(path, GetParam(), &seam);
  const AlignedBlock block(20'480);
  const Error error = caught([&] { file.read(block.data(), 16'384, 0); });
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_EQ(error.detail().file, path);
  EXPECT_EQ(error.detail().field, "offset 8192");
  EXPECT_EQ(error.detail().found, "errno " + std::to_string(EIO));
}

TEST_P(FaultBothWays, AReadThatNeverAdvancesEnds) {
  const TempFolder folder;
  FaultSeam seam;
  seam.pread = [](int, void*, size_t, uint64_t) -> int64_t { return 0; };
  const File file = File::open_read(folder.write("a", random_text(20'000, 24)), GetParam(), &seam);
  const AlignedBlock block(8192);
  expect_error(ErrorCode::io, "got 0 bytes", [&] { file.read(block.data(), 8192, 0); });
}

TEST_P(FaultBothWays, ShortWritesAreFinishedAndFullDisksTyped) {
  const TempFolder folder;
  std::mt19937_64 random(25);
  FaultSeam seam;
  bool full = false;
  seam.pwrite = [&](int fd, const void* data, size_t bytes, uint64_t offset) -> int64_t {
    if (full) return -ENOSPC;
    if (random() % 3 == 0) return -EINTR;
    const size_t part = bytes > 4096 ? 4096 * (1 + random() % (bytes / 4096)) : bytes;
    return real_pwrite(fd, data, part, offset);
  };
  const File file = File::anonymous(folder.path(), 1 << 18, GetParam(), &seam);
  const AlignedBlock out(1 << 18), in(1 << 18);
  const std::string content = random_text(out.size(), 26);
  std::memcpy(out.data(), content.data(), out.size());
  file.write(out.data(), out.size(), 0);
  file.read(in.data(), in.size(), 0);
  EXPECT_EQ(std::memcmp(in.data(), content.data(), in.size()), 0);
  full = true;
  const Error error = caught([&] { file.write(out.data(), 4096, 8192); });
  EXPECT_EQ(error.code(), ErrorCode::disk_full);
  EXPECT_EQ(error.detail().field, "offset 8192");
}

TEST(Fault, AWriteThatNeverAdvancesEnds) {
  const TempFolder folder;
  FaultSeam seam;
  seam.pwrite = [](int, const void*, size_t, uint64_t) -> int64_t { return 0; };
  const File file = File::create(folder / "a", &seam);
  expect_error(ErrorCode::io, "write failed", [&] { file.write("abc", 3, 0); });
}

TEST(Fault, PreallocationFindsAFullDiskAtOnce) {
  const TempFolder folder;
  FaultSeam seam;
  seam.allocate = [](int, uint64_t) { return -ENOSPC; };
  const Error error = caught([&] { File::anonymous(folder.path(), 4096, true, &seam); });
  EXPECT_EQ(error.code(), ErrorCode::disk_full);
  EXPECT_EQ(error.detail().allowed, "at least 4096 bytes");
  EXPECT_EQ(folder.entries(), 0);
  // A real one: more than any disk has.
  expect_error(ErrorCode::disk_full, "not enough disk space",
               [&] { File::anonymous(folder.path(), uint64_t{1} << 43, true); });
  expect_error(ErrorCode::not_found, "anonymous",
               [&] { File::anonymous(folder / "none", 4096, true); });
}

TEST(Fault, AtomicWriteFailsWholeAtEveryCall) {
  const TempFolder folder;
  write_file_atomically(folder / "a", "old");
  for (int failing = 0; failing < 3;
       ++failing) {  // the write, the fsync of the file, the fsync of the folder
    int syncs = 0;
    FaultSeam seam;
    seam.pwrite = [&](int fd, const void* data, size_t bytes, uint64_t offset) -> int64_t {
      return failing == 0 ? -ENOSPC : real_pwrite(fd, data, bytes, offset);
    };
    seam.fsync = [&](int) { return ++syncs == failing ? -EIO : 0; };
    const Error error = caught([&] { write_file_atomically(folder / "a", "new", &seam); });
    EXPECT_EQ(error.code(), failing == 0 ? ErrorCode::disk_full : ErrorCode::io);
    EXPECT_EQ(read_small_file(folder / "a", 10), failing == 2 ? "new" : "old");
    EXPECT_EQ(folder.entries(), 1) << "a temporary file was left";
  }
}

// Every operation of a small job fails once, in each way: typed error or success, never a wrong
// byte.
TEST(Fault, SweepOverEveryReadOfARequest) {
  const TempFolder folder;
  const std::string content = random_text(3'200'000, 27);
  const std::string path = folder.write("a", content);
  AsyncIo io(3);
  for (const int64_t fault :
       {int64_t{-EIO}, int64_t{-EINTR}, int64_t{0}, int64_t{512}, int64_t{4096}}) {
    for (int failing = 0; failing < 8; ++failing) {
      std::atomic<int> calls{0};
      FaultSeam seam;
      seam.pread = [&](int fd, void* data, size_t bytes, uint64_t offset) -> int64_t {
        if (calls++ != failing) return real_pread(fd, data, bytes, offset);
        return fault <= 0 ? fault : real_pread(fd, data, std::min<size_t>(bytes, fault), offset);
      };
      const File file = File::open_read(path, false, &seam);
      std::string text(content.size(), '\0');
      const Transfer transfer{.file = &file, .data = text.data(), .bytes = text.size()};
      const AsyncIo::Handle handle = io.start({&transfer, 1});
      try {
        io.wait(handle);
        ASSERT_EQ(text, content) << "fault " << fault << " at " << failing;
      } catch (const Error& error) {
        ASSERT_EQ(error.code(), ErrorCode::io);
        ASSERT_TRUE(fault == -EIO || fault == 0);
      }
    }
  }
}

}  // namespace
}  // namespace penstock
